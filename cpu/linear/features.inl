// phi: rows of q and k as features, and the shape of a state. Included inside a target's anonymous namespace.
// Reader: see core/op/linear.h for the maps.

// The state as the loops have it: valueDim in strips of kPanel columns, each [features][kPanel]; then the normalizer,
// then e^(decay of all its tokens).
struct StateShape {
  int features, paddedFeatures, strips;

  SIMD explicit StateShape(const LinearProblem& p)
      : features(p.features()), paddedFeatures(paddedDim(features)), strips(ceilDiv(p.valueDim, kPanel)) {}
  SIMD int64_t stripFloats() const { return int64_t(features) * kPanel; }
  SIMD int64_t normalizerAt() const { return strips * stripFloats(); }
  SIMD int64_t decayAt() const { return normalizerAt() + paddedFeatures; }
  SIMD int64_t floats() const { return decayAt() + 16; }
};

// elu(x) + 1.
SIMD Vec eluPlusOne(Vec x) { return whereLess(zero(), x, add(x, splat(1.0f)), exp(whereLess(zero(), x, zero(), x))); }

// The element-wise maps, in place; the padding behind `dim` stays 0.
void mapRow(FeatureMap map, float* row, int dim) {
  const int padded = paddedDim(dim);
  if (map == FeatureMap::elu1) {
    for (int d = 0; d < padded; d += kLanes) store(row + d, eluPlusOne(load(row + d)));
  } else if (map == FeatureMap::relu) {
    // Of a number that is none the number comes out, as from elu1.
    for (int d = 0; d < padded; d += kLanes) {
      const Vec x = load(row + d);
      store(row + d, whereLess(x, zero(), zero(), x));
    }
  }
  for (int d = dim; d < padded; ++d) row[d] = 0;
}

// Numbers behind a row of features that expandRow() overwrites.
constexpr int kBehindFeatures = 16;

// taylor2 of a row; its padding is 0. Whole vectors are written: what is too much of one, the next one overwrites.
void expandRow(const float* row, int dim, float* features) {
  const float root = 1 / __builtin_sqrtf(float(dim)), single = __builtin_sqrtf(root);
  const float square = root * 0.70710678118654752f;
  float* to = features;
  const auto multiply = [&](const float* from, int n, float factor) {
    for (int i = 0; i < n; i += kLanes) store(to + i, mul(load(from + i), splat(factor)));
    to += n;
  };
  *to++ = 1;
  multiply(row, dim, single);
  for (int a = 0; a < dim; ++a) {
    *to++ = row[a] * row[a] * square;
    multiply(row + a + 1, dim - a - 1, row[a] * root);
  }
  while (to < features + paddedDim(int(to - features))) *to++ = 0;
}

// A row of q or k, mapped, with its padding.
void readMapped(const LinearProblem& p, const Operand& operand, int64_t batch, Token token, int32_t head, float* row) {
  const int padded = paddedDim(p.headDim);
  for (int d = padded - 16; d < padded; ++d) row[d] = 0;
  readRow(rowOf(operand, p.dtype, batch, token, head), p.dtype, operand.dim, p.headDim, row);
  mapRow(p.featureMap, row, p.headDim);
}

SIMD double decayAt(const LinearProblem& p, int64_t batch, Token token, int32_t head) {
  if (!p.decay) return 0;
  return finiteDecay(p.decay[batch * p.decayBatch + token * p.decayToken + head * p.decayHead]);
}
