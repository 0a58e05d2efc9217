// Chunks of linear attention. Included inside a target's anonymous namespace after features.inl. Reader: someone who
// asks what is computed for a chunk of n tokens, with c_r the decays of its tokens 0 to r, summed:
//   O = scale [ ((Q K^T) * e^(c_r - c_r'))_{r >= r'} V + diag(e^c_r) Q S ],   S <- e^(c_last) S + (diag(e^(c_last -
//   c_r')) K)^T V
// All exponents are 0 or less. Idea: Lightning Attention-2 (arXiv 2401.04658). Values, states and outputs are in strips
// of kPanel columns, keys in panels of kPanel tokens, so that all four products are register tiles. What a token may
// not see is left out or selected away, never multiplied by 0.

struct ChunkScratch {
  int keyStride;  // floats of a row of keys or queries
  int featureStride;
  int scoreStride;
  float *keys, *keyFeatures, *keyLanes, *values, *row;
  float *queries, *queryFeatures, *scores, *outputs, *factors;
  float *weights, *indices;
  ChunkDecays decays;
  Requests* requests;
  float *state, *seen;  // from the group's start; the same with what is carried
};

int64_t layOutChunk(const LinearProblem& p, int chunk, float* base, ChunkScratch& s) {
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
    carver.take(s.keyFeatures, int64_t(chunk) * s.featureStride);
    carver.take(s.queryFeatures, int64_t(chunk) * s.featureStride);
  }
  carver.take(s.values, int64_t(shape.strips) * chunk * kPanel);
  carver.take(s.row, int64_t(shape.strips) * kPanel);
  carver.take(s.scores, int64_t(chunk) * padded);
  carver.take(s.weights, int64_t(chunk) * padded);
  carver.take(s.outputs, int64_t(shape.strips) * chunk * kPanel);
  carver.take(s.factors, padded);
  carver.take(s.indices, padded);
  layOutDecays(padded, carver, s.decays);
  carver.take(s.state, shape.floats());
  carver.take(s.seen, shape.floats());
  return carver.floats();
}

// Keys and values of tokens [first, first + n) of the group's sequence.
void readChunk(const LinearGroup& g, const StateShape& shape, Token first, int n, const ChunkScratch& s) {
  const LinearProblem& p = *g.problem;
  for (int r = 0; r < n; ++r) {
    const Token token = g.sequence.keys.begin + first + r;
    readMapped(p, p.key, g.sequence.batch, token, g.head, s.keys + int64_t(r) * s.keyStride);
    readRow(rowOf(p.value, p.dtype, g.sequence.batch, token, g.head), p.dtype, p.value.dim, p.valueDim, s.row);
    for (int strip = 0; strip < shape.strips; ++strip) {
      __builtin_memcpy(s.values + (int64_t(strip) * g.chunk + r) * kPanel, s.row + strip * kPanel,
                       kPanel * sizeof(float));
    }
  }
  if (s.keyFeatures != s.keys) {
    for (int r = 0; r < n; ++r) {
      expandRow(s.keys + int64_t(r) * s.keyStride, p.headDim, s.keyFeatures + int64_t(r) * s.featureStride);
    }
  }
}

// scores[r][r'] of r' <= r, 0 behind them up to the end of the panel.
void scoreChunk(const LinearProblem& p, int n, const ChunkScratch& s) {
  const bool isTaylor = p.featureMap == FeatureMap::taylor2;
  const Vec root = splat(1 / __builtin_sqrtf(float(p.headDim))), half = splat(0.5f), one = splat(1.0f);
  const PairShape shape{n, p.headDim, s.keyStride, s.scoreStride};
  multiplyPairs(shape, s.queries, s.keyLanes, s.scores, *s.requests,
                [&](Vec x, int row, int64_t at, int column) SIMD_LAMBDA {
                  if (isTaylor) {
                    x = mul(x, root);
                    x = mulAdd(mul(x, x), half, add(x, one));
                  }
                  if (p.decay) x = mul(x, load(s.weights + at));
                  return whereLess(splat(float(row)), load(s.indices + column), zero(), x);
                });
}

// factors[r]: scale, or scale over the row's denominator.
void findFactors(const LinearProblem& p, int n, const float* normalizer, const ChunkScratch& s) {
  if (!p.isNormalized) {
    for (int r = 0; r < n; ++r) s.factors[r] = p.scale;
    return;
  }
  for (int first = 0; first < n; first += kLanes) {
    Vec sums[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const int r = first + i;
      sums[i] = zero();
      if (r >= n) continue;
      if (normalizer) {
        const float* features = s.queryFeatures + int64_t(r) * s.featureStride;
        for (int f = 0; f < s.featureStride; f += kLanes) {
          sums[i] = mulAdd(load(features + f), load(normalizer + f), sums[i]);
        }
        if (p.decay) sums[i] = mul(sums[i], splat(s.decays.fromStart[r]));
      }
      if (!p.isCausal) continue;
      const float* scores = s.scores + int64_t(r) * s.scoreStride;
      for (int c = 0; c <= r; c += kLanes) sums[i] = add(sums[i], load(scores + c));
    }
    store(s.factors + first, div(splat(p.scale), add(reduceAddEach(sums), splat(p.eps))));
  }
}

// The outputs of one query head for n tokens from `first` on. `state`: null before anything is in it.
void writeOutputs(const LinearGroup& g, const StateShape& shape, int32_t head, Token first, int n, const float* state,
                  const ChunkScratch& s) {
  const LinearProblem& p = *g.problem;
  for (int r = 0; r < n; ++r) {
    float* row = s.queries + int64_t(r) * s.keyStride;
    readMapped(p, p.query, g.sequence.batch, g.sequence.queries.begin + first + r, head, row);
    if (s.queryFeatures != s.queries && state) {
      expandRow(row, p.headDim, s.queryFeatures + int64_t(r) * s.featureStride);
    }
  }
  if (p.isCausal) scoreChunk(p, n, s);
  findFactors(p, n, state ? state + shape.normalizerAt() : nullptr, s);
  const int outStride = shape.strips * kPanel;
  for (int strip = 0; strip < shape.strips; ++strip) {
    const float* values = s.values + int64_t(strip) * g.chunk * kPanel;
    forEachTile(n, [&](auto tile, int from) SIMD_LAMBDA {
      s.requests->step();
      tile.setZero();
      if (state) {
        addProducts(tile, s.queryFeatures + int64_t(from) * s.featureStride, 1, s.featureStride,
                    state + strip * shape.stripFloats(), shape.features);
        if (p.decay) scaleRows(tile, s.decays.fromStart + from);
      }
      if (p.isCausal) {
        const float* scores = s.scores + int64_t(from) * s.scoreStride;
        addProducts(tile, scores, 1, s.scoreStride, values, from);
        addTriangle(tile, scores + from, s.scoreStride, values + int64_t(from) * kPanel);
      }
      scaleRows(tile, s.factors + from);
#pragma GCC unroll 16
      for (int r = 0; r < decltype(tile)::kRows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < kTileVecs; ++c)
          store(s.outputs + int64_t(from + r) * outStride + strip * kPanel + c * kLanes, tile.acc[r][c]);
    });
  }
  for (int r = 0; r < n; ++r) {
    const int64_t at = p.out.offset(g.sequence.batch, g.sequence.queries.begin + first + r, head);
    writeRow(s.outputs + int64_t(r) * outStride, p.valueDim, p.dtype, p.out.dim,
             static_cast<char*>(p.out.data) + at * sizeOf(p.dtype));
  }
}

// state = e^sum state + keys values of the chunk.
void addChunk(const LinearGroup& g, const StateShape& shape, int n, double sum, float* state, const ChunkScratch& s) {
  const LinearProblem& p = *g.problem;
  const Vec kept = splat(expOf(sum));
  if (p.decay) {
    for (int r = 0; r < n; ++r) {
      const Vec factor = splat(s.decays.toEnd[r]);
      float* row = s.keyFeatures + int64_t(r) * s.featureStride;
      for (int f = 0; f < s.featureStride; f += kLanes) store(row + f, mul(load(row + f), factor));
    }
  }
  Vec keptLanes[kTileVecs];
  for (int c = 0; c < kTileVecs; ++c) keptLanes[c] = kept;
  for (int strip = 0; strip < shape.strips; ++strip) {
    const float* values = s.values + int64_t(strip) * g.chunk * kPanel;
    float* rows = state + strip * shape.stripFloats();
    forEachTile(shape.features, [&](auto tile, int first) SIMD_LAMBDA {
      s.requests->step();
      tile.readScaled(rows + int64_t(first) * kPanel, keptLanes);
      addProducts(tile, s.keyFeatures + first, s.featureStride, 1, values, n);
      tile.writeTo(rows + int64_t(first) * kPanel);
    });
  }
  if (!p.isNormalized) return;
  float* normalizer = state + shape.normalizerAt();
  for (int f = 0; f < s.featureStride; f += kLanes) {
    Vec x = mul(load(normalizer + f), kept);
    for (int r = 0; r < n; ++r) x = add(x, load(s.keyFeatures + int64_t(r) * s.featureStride + f));
    store(normalizer + f, x);
  }
}

// into = from + factor * carried, of a state's rows and normalizer.
void addCarried(const StateShape& shape, const float* from, float factor, const float* carried, float* into) {
  const Vec f = splat(factor);
  for (int64_t i = 0; i < shape.decayAt(); i += kLanes) store(into + i, mulAdd(load(carried + i), f, load(from + i)));
}

// Requests the keys and values of the chunk that begins at `first`.
void requestChunk(const LinearGroup& g, Token first, Requests& requests) {
  const LinearProblem& p = *g.problem;
  const int n = smaller<Token>(g.chunk, g.tokens.end - first);
  const Token token = g.sequence.keys.begin + first;
  requests.keys = Ahead(p.key, p.dtype, g.sequence.batch, token, n, g.head, p.headDim);
  requests.values = Ahead(p.value, p.dtype, g.sequence.batch, token, n, g.head, p.valueDim);
}
// Requests the outputs of query head h of the group of heads, and the queries of the next one, which may be the first
// of the next chunk.
void requestRows(const LinearGroup& g, Token first, int n, int32_t h, Requests& requests) {
  const LinearProblem& p = *g.problem;
  const int32_t heads = p.headsPerState(), next = h + 1 < heads ? h + 1 : 0;
  const Token begin = g.sequence.queries.begin, nextFirst = next > 0 ? first : first + n;
  const int count = smaller<Token>(g.chunk, g.tokens.end - nextFirst);
  requests.outputs = Ahead(p.out, p.dtype, g.sequence.batch, begin + first, n, g.head * heads + h, p.valueDim);
  requests.queries =
      Ahead(p.query, p.dtype, g.sequence.batch, begin + nextFirst, count, g.head * heads + next, p.headDim);
}

// A group with its outputs or without.
template <bool HasOutputs>
void passGroup(const LinearGroup& g, const float* carried, float* end, float* scratch) {
  const LinearProblem& p = *g.problem;
  const StateShape shape(p);
  ChunkScratch s;
  layOutChunk(p, g.chunk, scratch, s);
  setZeros(s.row, int64_t(shape.strips) * kPanel);
  setZeros(s.state, shape.floats());
  for (int i = 0; i < s.scoreStride; ++i) s.indices[i] = float(i);
  Requests requests;
  s.requests = &requests;
  double sum = 0, chunkSum = 0;
  int known = 0;  // tokens of the chunk that the decays are of, where all chunks of that length share them
  for (Token first = g.tokens.begin; first < g.tokens.end; first += g.chunk) {
    const int n = smaller<Token>(g.chunk, g.tokens.end - first);
    readChunk(g, shape, first, n, s);
    requestChunk(g, first + n, requests);
    if (p.decayToken != 0 || known != n) {
      chunkSum = sumDecays(
          n, s.decays, [&](int r) { return decayAt(p, g.sequence.batch, g.sequence.keys.begin + first + r, g.head); });
      if (HasOutputs && p.decay) weighPairs(n, s.decays, s.scoreStride, s.weights);
      known = n;
    }
    if constexpr (HasOutputs) {
      layOutKeys(n, s.keyStride, s.keys, s.keyLanes);
      const bool isFirst = first == g.tokens.begin;
      const float* seen = isFirst ? nullptr : s.state;
      if (carried) {
        addCarried(shape, s.state, expOf(sum), carried, s.seen);
        seen = s.seen;
      }
      const int32_t heads = p.headsPerState();
      for (int32_t h = 0; h < heads; ++h) {
        requestRows(g, first, n, h, requests);
        writeOutputs(g, shape, g.head * heads + h, first, n, seen, s);
      }
    }
    if (end || first + n < g.tokens.end) addChunk(g, shape, n, chunkSum, s.state, s);
    sum += chunkSum;
    if (!g.pause()) return;
  }
  if (!end) return;
  __builtin_memcpy(end, s.state, size_t(shape.decayAt()) * sizeof(float));
  end[shape.decayAt()] = expOf(sum);
}

void sumGroup(const LinearGroup& g, float* end, float* scratch) { passGroup<false>(g, nullptr, end, scratch); }
void runGroup(const LinearGroup& g, const float* carried, float* end, float* scratch) {
  passGroup<true>(g, carried, end, scratch);
}

void readState(const LinearGroup& g, const float* state, float* scratch) {
  const LinearProblem& p = *g.problem;
  const StateShape shape(p);
  ChunkScratch s;
  layOutChunk(p, g.chunk, scratch, s);
  Requests requests;
  s.requests = &requests;
  const int32_t heads = p.headsPerState();
  for (Token first = g.tokens.begin; first < g.tokens.end; first += g.chunk) {
    const int n = smaller<Token>(g.chunk, g.tokens.end - first);
    for (int32_t h = 0; h < heads; ++h) {
      requestRows(g, first, n, h, requests);
      writeOutputs(g, shape, g.head * heads + h, first, n, state, s);
    }
    if (!g.pause()) return;
  }
}
