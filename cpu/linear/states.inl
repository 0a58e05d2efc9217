// States from and to the caller's memory, and a step of one token. Included inside a target's anonymous namespace after
// group.inl. Reader: someone who decodes: a step reads and writes a state once, where it is.

int64_t stateFloats(const LinearProblem& p) { return StateShape(p).floats(); }
int64_t scratchFloats(const LinearProblem& p, int32_t chunk, int32_t heads) {
  ChunkScratch s;
  return layOutChunk(p, chunk, heads, nullptr, s);
}

void carry(const LinearProblem& p, const float* end, float* carried) {
  const StateShape shape(p);
  addCarried(shape, end, end[shape.decayAt()], carried, carried);
}

void loadState(const LinearProblem& p, int64_t sequence, int32_t head, float* state) {
  const StateShape shape(p);
  setZeros(state, shape.floats());
  if (p.stateIn) {
    const float* rows = p.stateIn + p.stateAt(sequence, head);
    for (int strip = 0; strip < shape.strips; ++strip) {
      readStrip(rows, shape.features, p.valueDim, strip, state + strip * shape.stripFloats());
    }
  }
  if (p.normalizerIn) {
    __builtin_memcpy(state + shape.normalizerAt(), p.normalizerIn + p.normalizerAt(sequence, head),
                     shape.features * sizeof(float));
  }
}

void storeState(const LinearProblem& p, int64_t sequence, int32_t head, const float* state) {
  const StateShape shape(p);
  if (p.state) {
    float* rows = p.state + p.stateAt(sequence, head);
    for (int strip = 0; strip < shape.strips; ++strip) {
      writeStrip(state + strip * shape.stripFloats(), shape.features, p.valueDim, strip, rows);
    }
  }
  if (p.normalizer) {
    __builtin_memcpy(p.normalizer + p.normalizerAt(sequence, head), state + shape.normalizerAt(),
                     shape.features * sizeof(float));
  }
}

struct StepScratch {
  float *row, *key, *value, *queries, *outputs, *sums;
  int features, columns;
};

int64_t layOutStep(const LinearProblem& p, float* base, StepScratch& s) {
  const int32_t heads = p.headsPerState();
  s.features = paddedDim(p.features());
  s.columns = paddedDim(p.valueDim);
  Carver carver(base);
  carver.take(s.row, paddedDim(p.headDim));
  carver.take(s.key, s.features + kBehindFeatures);
  carver.take(s.value, s.columns);
  carver.take(s.queries, int64_t(heads) * s.features + kBehindFeatures);
  carver.take(s.outputs, int64_t(heads) * s.columns);
  carver.take(s.sums, heads);
  return carver.floats();
}

int64_t stepFloats(const LinearProblem& p) {
  StepScratch s;
  return layOutStep(p, nullptr, s);
}

void readFeatures(const LinearProblem& p, const Operand& operand, int64_t batch, Token token, int32_t head, float* row,
                  float* features) {
  if (p.featureMap != FeatureMap::taylor2) return readMapped(p, operand, batch, token, head, features);
  readMapped(p, operand, batch, token, head, row);
  expandRow(row, p.headDim, features);
}

// Columns of a state from `e` on, Vecs vectors of them or `width` in one: their rows decay, take up the token, and are
// seen by all query heads, by the first one in registers. `in` and `out`: null where there is no such state.
template <int Vecs>
SIMD void stepColumns(const StepScratch& s, int32_t heads, const LinearProblem& p, float kept, const float* in,
                      float* out, int e, int width) {
  const int features = p.features();
  const int64_t stride = p.valueDim;
  Vec seen[Vecs];
  for (Vec& x : seen) x = zero();
  for (int f = 0; f < features; ++f) {
    const Vec factor = splat(kept), key = splat(s.key[f]), query = splat(s.queries[f]);
    const int64_t at = f * stride + e;
    if (in) prefetchRow<2>(in + at + kAheadStepRows * stride, Vecs * int64_t(sizeof(Vec)));
#pragma GCC unroll 8
    for (int c = 0; c < Vecs; ++c) {
      const int64_t i = at + c * kLanes;
      Vec x = mul(key, load(s.value + e + c * kLanes));
      if (in) x = mulAdd(loadFirst(in + i, width), factor, x);
      if (out) storeFirst(out + i, x, width);
      seen[c] = mulAdd(query, x, seen[c]);
      for (int32_t h = 1; h < heads; ++h) {
        float* sum = s.outputs + int64_t(h) * s.columns + e + c * kLanes;
        store(sum, mulAdd(splat(s.queries[int64_t(h) * s.features + f]), x, load(sum)));
      }
    }
  }
  for (int c = 0; c < Vecs; ++c) store(s.outputs + e + c * kLanes, seen[c]);
}

void step(const LinearProblem& p, const LinearSequence& sequence, int32_t head, float* scratch) {
  StepScratch s;
  setZeros(scratch, layOutStep(p, scratch, s));
  const int32_t heads = p.headsPerState();
  const Token token = sequence.keys.begin, queryToken = sequence.queries.begin;
  readFeatures(p, p.key, sequence.batch, token, head, s.row, s.key);
  readRow(rowOf(p.value, p.dtype, sequence.batch, token, head), p.dtype, p.value.dim, p.valueDim, s.value);
  for (int32_t h = 0; h < heads; ++h) {
    readFeatures(p, p.query, sequence.batch, queryToken, head * heads + h, s.row, s.queries + int64_t(h) * s.features);
  }
  const float kept = expOf(decayAt(p, sequence.batch, token, head));
  const int features = p.features();
  const float* in = p.stateIn ? p.stateIn + p.stateAt(sequence.index, head) : nullptr;
  float* out = p.state ? p.state + p.stateAt(sequence.index, head) : nullptr;
  forEachColumns(p.valueDim, [&](auto vecs, int e, int width) SIMD_LAMBDA {
    stepColumns<decltype(vecs)::value>(s, heads, p, kept, in, out, e, width);
  });
  if (p.isNormalized) {
    const int64_t at = p.normalizerAt(sequence.index, head);
    for (int f = 0; f < features; ++f) {
      const float z = s.key[f] + (p.normalizerIn ? kept * p.normalizerIn[at + f] : 0);
      if (p.normalizer) p.normalizer[at + f] = z;
      for (int32_t h = 0; h < heads; ++h) s.sums[h] += s.queries[int64_t(h) * s.features + f] * z;
    }
  }
  for (int32_t h = 0; h < heads; ++h) {
    float* row = s.outputs + int64_t(h) * s.columns;
    const float factor = p.isNormalized ? p.scale / (s.sums[h] + p.eps) : p.scale;
    for (int e = 0; e < p.valueDim; ++e) row[e] *= factor;
    const int64_t at = p.out.offset(sequence.batch, queryToken, head * heads + h);
    writeRow(row, p.valueDim, p.dtype, p.out.dim, static_cast<char*>(p.out.data) + at * sizeOf(p.dtype));
  }
}
