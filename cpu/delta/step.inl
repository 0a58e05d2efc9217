// A step of the gated delta rule: one token, from the problem's state to the problem's state. Included inside a
// target's anonymous namespace after chunk_loop.inl. Reader: someone who decodes. A head's state is read twice, the
// second time from the cache, and written once, row by row, where it is.

struct DeltaStep {
  int columns;  // with their padding
  float *key, *queries, *row;
  float *taken, *seen;  // beta v, then u; k S
  float* outputs;  // [heads][columns]: q S, then out
};

int64_t layOutDeltaStep(const DeltaProblem& p, int strips, float* base, DeltaStep& s) {
  const int32_t heads = p.headsPerState();
  s.columns = paddedDim(strips * kPanel);
  Carver carver(base);
  carver.take(s.key, paddedDim(p.headDim));
  carver.take(s.queries, int64_t(heads) * paddedDim(p.headDim));
  carver.take(s.row, s.columns + kPanel);
  carver.take(s.taken, s.columns);
  carver.take(s.seen, s.columns);
  carver.take(s.outputs, int64_t(heads) * s.columns);
  return carver.floats();
}

SIMD void addScaled(float* to, float factor, Vec x) { store(to, mulAdd(splat(factor), x, load(to))); }

// What a key and the queries see of a state's columns from `e` on, Vecs vectors of them or `width` in one; of queries
// the first one in registers.
template <int Vecs>
SIMD void seeColumns(const DeltaProblem& p, const DeltaStep& s, int padded, const float* in, int e, int width) {
  const int32_t heads = p.headsPerState();
  Vec ofKey[Vecs], ofQuery[Vecs];
  for (int c = 0; c < Vecs; ++c) ofKey[c] = ofQuery[c] = zero();
  for (int d = 0; d < p.headDim; ++d) {
    const float* row = in + int64_t(d) * p.valueDim + e;
    const Vec key = splat(s.key[d]), query = splat(s.queries[d]);
    prefetchRow<2>(row + int64_t(kAheadStepRows) * p.valueDim, Vecs * int64_t(sizeof(Vec)));
#pragma GCC unroll 8
    for (int c = 0; c < Vecs; ++c) {
      const Vec x = loadFirst(row + c * kLanes, width);
      ofKey[c] = mulAdd(key, x, ofKey[c]);
      ofQuery[c] = mulAdd(query, x, ofQuery[c]);
      for (int32_t h = 1; h < heads; ++h) {
        addScaled(s.outputs + int64_t(h) * s.columns + e + c * kLanes, s.queries[int64_t(h) * padded + d], x);
      }
    }
  }
  for (int c = 0; c < Vecs; ++c) {
    store(s.seen + e + c * kLanes, ofKey[c]);
    store(s.outputs + e + c * kLanes, ofQuery[c]);
  }
}

float product(const float* a, const float* b, int n) {
  Vec sums[kLanes];
  for (Vec& sum : sums) sum = zero();
  for (int d = 0; d < n; d += kLanes) sums[0] = mulAdd(load(a + d), load(b + d), sums[0]);
  float sum[kLanes];
  store(sum, reduceAddEach(sums));
  return sum[0];
}

void runStep(const DeltaTask& t, float* scratch) {
  const DeltaProblem& p = *t.problem;
  DeltaStep s;
  setZeros(scratch, layOutDeltaStep(p, t.strips, scratch, s));
  const int32_t heads = p.headsPerState();
  const int padded = paddedDim(p.headDim);
  const int begin = t.firstStrip * kPanel, columns = smaller(t.strips * kPanel, p.valueDim - begin);
  const int64_t batch = p.batchOf(t.sequence), at = p.stateAt(t.sequence, t.head) + begin;
  const Token token = p.tokensOf(t.sequence).begin;
  readUnitRow(p, p.key, batch, token, p.keyHead(t.head), s.key);
  for (int32_t h = 0; h < heads; ++h) {
    readUnitRow(p, p.query, batch, token, p.queryHead(t.head * heads + h), s.queries + int64_t(h) * padded);
  }
  const float beta = p.beta.at(batch, token, t.head), kept = expOf(decayAt(p, batch, token, t.head));
  readValue(t, batch, token, beta, s.row, s.taken, kPanel);
  const float* const in = p.stateIn ? p.stateIn + at : nullptr;
  float* const out = p.state ? p.state + at : nullptr;
  if (in) {
    forEachColumns(columns, [&](auto vecs, int e, int width)
                                SIMD_LAMBDA { seeColumns<decltype(vecs)::value>(p, s, padded, in, e, width); });
  }
  for (int e = 0; e < columns; e += kLanes) addScaled(s.taken + e, -beta * kept, load(s.seen + e));
  for (int32_t h = 0; h < heads; ++h) {
    float* const row = s.outputs + int64_t(h) * s.columns;
    const float ofToken = p.scale * product(s.queries + int64_t(h) * padded, s.key, padded);
    for (int e = 0; e < columns; e += kLanes) {
      store(row + e, mulAdd(splat(ofToken), load(s.taken + e), mul(load(row + e), splat(p.scale * kept))));
    }
    writeOutput(t, batch, token, t.head * heads + h, row);
  }
  for (int d = 0; d < p.headDim && out; ++d) {
    const int64_t row = int64_t(d) * p.valueDim;
    for (int e = 0; e < columns; e += kLanes) {
      Vec x = mul(splat(s.key[d]), load(s.taken + e));
      if (in) x = mulAdd(splat(kept), loadFirst(in + row + e, columns - e), x);
      storeFirst(out + row + e, x, columns - e);
    }
  }
}
