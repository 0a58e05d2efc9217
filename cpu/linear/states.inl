// States from and to the caller's memory, and a step of one token. Included inside a target's anonymous namespace after
// chunk_loop.inl. Reader: someone who decodes: a step reads and writes a state once, row by row, where it is.

int64_t stateFloats(const LinearProblem& p) { return StateShape(p).floats(); }
int64_t scratchFloats(const LinearProblem& p, int32_t chunk) {
  ChunkScratch s;
  return layOutChunk(p, chunk, nullptr, s);
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
  float *row, *key, *value, *state, *queries, *outputs, *sums;
  int features, columns;
};

int64_t layOutStep(const LinearProblem& p, float* base, StepScratch& s) {
  const int32_t heads = p.headsPerState();
  s.features = paddedDim(p.features());
  s.columns = paddedDim(p.valueDim);
  Carver carver(base);
  carver.take(s.row, paddedDim(p.headDim));
  carver.take(s.key, s.features);
  carver.take(s.value, s.columns);
  carver.take(s.state, s.columns);
  carver.take(s.queries, int64_t(heads) * s.features);
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

// A row of the state: decays, takes up the token, and is seen by all query heads.
SIMD void stepRow(const StepScratch& s, int32_t heads, int f, float kept, const float* in, float* out, int columns) {
  const Vec factor = splat(kept), key = splat(s.key[f]);
  const auto advance = [&](const float* from, float* to, int e) {
    Vec x = mul(key, load(s.value + e));
    if (from) x = mulAdd(load(from), factor, x);
    if (to) store(to, x);
    for (int32_t h = 0; h < heads; ++h) {
      float* sum = s.outputs + int64_t(h) * s.columns + e;
      store(sum, mulAdd(splat(s.queries[int64_t(h) * s.features + f]), x, load(sum)));
    }
  };
  int e = 0;
  for (; e + kLanes <= columns; e += kLanes) advance(in ? in + e : nullptr, out ? out + e : nullptr, e);
  if (e == columns) return;
  const size_t rest = size_t(columns - e) * sizeof(float);
  float last[kLanes] = {};
  if (in) __builtin_memcpy(last, in + e, rest);
  advance(last, last, e);
  if (out) __builtin_memcpy(out + e, last, rest);
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
  for (int f = 0; f < features; ++f) {
    const int64_t at = int64_t(f) * p.valueDim, ahead = at + int64_t(kAheadStepRows) * p.valueDim;
    if (in && f + kAheadStepRows < features) prefetchRow(in + ahead, p.valueDim * int64_t(sizeof(float)));
    stepRow(s, heads, f, kept, in ? in + at : nullptr, out ? out + at : nullptr, p.valueDim);
  }
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
