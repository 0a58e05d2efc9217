// The memory of a chunk and its operands in the order that products want. Included inside a target's anonymous
// namespace after features.inl. Reader: someone who asks in which layout chunk_loop.inl finds an operand. Heads that
// take turns share all of it but their decays and states.

struct ChunkScratch {
  int keyStride;  // floats of a row of keys or queries
  int featureStride;
  int scoreStride;
  float *keys, *keyFeatures, *keyLanes, *values, *row;
  float *queries, *queryFeatures, *scores, *outputs, *factors;
  float* indices;
  Requests* requests;
  float *memory, *seen;  // of the first head; a state with what is carried
  int64_t headFloats;

  // Of the head whose turn it is.
  ChunkDecays decays;
  double* sums;  // of the chunk's decays and of those before
  float *weights, *state;
};

int64_t layOutHead(const StateShape& shape, int padded, float* base, ChunkScratch& s) {
  Carver carver(base);
  layOutDecays(padded, carver, s.decays);
  carver.take(s.sums, 2);
  carver.take(s.weights, int64_t(padded) * padded);
  carver.take(s.state, shape.floats());
  return carver.floats();
}

int64_t layOutChunk(const LinearProblem& p, int chunk, int heads, float* base, ChunkScratch& s) {
  const StateShape shape(p);
  const bool doesExpand = p.featureMap == FeatureMap::taylor2;
  const int padded = ceilDiv(chunk, kPanel) * kPanel;
  s.keyStride = paddedDim(p.headDim);
  s.featureStride = shape.paddedFeatures;
  s.scoreStride = padded;
  Carver carver(base);
  carver.take(s.keys, int64_t(padded) * s.keyStride);
  carver.take(s.keyLanes, int64_t(padded) * s.keyStride);
  carver.take(s.queries, int64_t(chunk) * s.keyStride);
  s.keyFeatures = s.keys;
  s.queryFeatures = s.queries;
  if (doesExpand) {
    carver.take(s.keyFeatures, int64_t(chunk) * s.featureStride + kBehindFeatures);
    carver.take(s.queryFeatures, int64_t(chunk) * s.featureStride + kBehindFeatures);
  }
  carver.take(s.values, int64_t(shape.strips) * chunk * kPanel);
  carver.take(s.row, int64_t(shape.strips) * kPanel);
  carver.take(s.scores, int64_t(chunk) * padded);
  carver.take(s.outputs, int64_t(shape.strips) * chunk * kPanel);
  carver.take(s.factors, padded);
  carver.take(s.indices, padded);
  carver.take(s.seen, shape.floats());
  s.headFloats = layOutHead(shape, padded, nullptr, s);
  carver.take(s.memory, heads * s.headFloats);
  return carver.floats();
}

SIMD void useHead(const StateShape& shape, int head, ChunkScratch& s) {
  layOutHead(shape, s.scoreStride, s.memory + head * s.headFloats, s);
}

// Whether rows are whole vectors of every target where they are.
SIMD bool isWhole(const LinearProblem& p, const Operand& operand, int dim) {
  return isVectorRow(p.dtype, operand.dim, dim) && paddedDim(dim) == dim;
}
SIMD const float* floatsOf(const Operand& operand, int64_t batch, Token token, int32_t head) {
  return static_cast<const float*>(operand.data) + operand.offset(batch, token, head);
}

// Rows of q or k of n tokens, mapped.
void readMappedRows(const LinearProblem& p, const Operand& operand, int64_t batch, Token first, int n, int32_t head,
                    int stride, float* to) {
  if (!isWhole(p, operand, p.headDim)) {
    for (int r = 0; r < n; ++r) readMapped(p, operand, batch, first + r, head, to + int64_t(r) * stride);
    return;
  }
  const float* from = floatsOf(operand, batch, first, head);
  for (int r = 0; r < n; ++r, from += operand.token, to += stride) {
    for (int d = 0; d < stride; d += kLanes) store(to + d, load(from + d));
    if (p.featureMap != FeatureMap::identity) mapRow(p.featureMap, to, p.headDim);
  }
}

void readValues(const LinearProblem& p, const StateShape& shape, int64_t batch, Token first, int n, int32_t head,
                int chunk, const ChunkScratch& s) {
  const int64_t stripFloats = int64_t(chunk) * kPanel;
  const bool isInPlace = isWhole(p, p.value, p.valueDim) && p.valueDim % kPanel == 0;
  for (int r = 0; r < n; ++r) {
    const float* row = isInPlace ? floatsOf(p.value, batch, first + r, head) : s.row;
    if (!isInPlace) readRow(rowOf(p.value, p.dtype, batch, first + r, head), p.dtype, p.value.dim, p.valueDim, s.row);
    float* to = s.values + int64_t(r) * kPanel;
    for (int strip = 0; strip < shape.strips; ++strip, row += kPanel, to += stripFloats) {
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) store(to + c * kLanes, load(row + c * kLanes));
    }
  }
}

// Keys as lanes; for taylor2 their features, too.
void readKeys(const LinearProblem& p, int64_t batch, Token first, int n, int32_t head, const ChunkScratch& s) {
  if (p.featureMap != FeatureMap::identity || !isWhole(p, p.key, p.headDim)) {
    readMappedRows(p, p.key, batch, first, n, head, s.keyStride, s.keys);
    layOutKeys(n, s.keyStride, s.keys, s.keyLanes);
  } else {
    const float* from = floatsOf(p.key, batch, first, head);
    setZeros(s.keys, s.keyStride);
    for (int panel = 0; panel < n; panel += kPanel) {
      const float* rows[kPanel];
      for (int i = 0; i < kPanel; ++i) rows[i] = panel + i < n ? from + (panel + i) * p.key.token : s.keys;
      rowsToLanes(rows, s.keyStride, 1.0f, s.keyLanes + int64_t(panel) * s.keyStride);
    }
  }
  if (s.keyFeatures == s.keys) return;
  for (int r = 0; r < n; ++r) {
    expandRow(s.keys + int64_t(r) * s.keyStride, p.headDim, s.keyFeatures + int64_t(r) * s.featureStride);
  }
}
