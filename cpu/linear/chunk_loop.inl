// Chunks of linear attention. Included inside a target's anonymous namespace after features.inl. Reader: someone who
// asks what is computed for a chunk of n tokens, with c_r the decays of its tokens 0 to r, summed:
//   O = scale [ ((Q K^T) * e^(c_r - c_r'))_{r >= r'} V + diag(e^c_r) Q S ],   S <- e^(c_last) S + (diag(e^(c_last -
//   c_r')) K)^T V
// All exponents are 0 or less. Idea: Lightning Attention-2 (arXiv 2401.04658). Values, states and outputs are in strips
// of kPanel columns, keys in panels of kPanel tokens, so that all four products are register tiles. What a token may
// not see is left out or selected away, never multiplied by 0.

// scores[r][r'] of r' <= r, 0 behind them up to the end of the vector.
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
  const Token token = g.sequence.queries.begin + first;
  readMappedRows(p, p.query, g.sequence.batch, token, n, head, s.keyStride, s.queries);
  if (s.queryFeatures != s.queries && state) {
    for (int r = 0; r < n; ++r) {
      expandRow(s.queries + int64_t(r) * s.keyStride, p.headDim, s.queryFeatures + int64_t(r) * s.featureStride);
    }
  }
  if (p.isCausal) scoreChunk(p, n, s);
  findFactors(p, n, state ? state + shape.normalizerAt() : nullptr, s);
  const bool isInPlace = isVectorRow(p.dtype, p.out.dim, p.valueDim) && p.valueDim % kPanel == 0;
  const int64_t at = p.out.offset(g.sequence.batch, token, head);
  float* const out = isInPlace ? static_cast<float*>(p.out.data) + at : s.outputs;
  const int64_t outStride = isInPlace ? p.out.token : shape.strips * kPanel;
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
          store(out + (from + r) * outStride + strip * kPanel + c * kLanes, tile.acc[r][c]);
    });
  }
  if (isInPlace) return;
  for (int r = 0; r < n; ++r) {
    writeRow(s.outputs + r * outStride, p.valueDim, p.dtype, p.out.dim,
             static_cast<char*>(p.out.data) + (at + r * p.out.token) * sizeOf(p.dtype));
  }
}

// Multiplies the chunk's keys with their decays to its end, as they are needed: as lanes, of taylor2 the features.
void decayKeys(const LinearProblem& p, int n, const ChunkScratch& s) {
  if (s.keyFeatures == s.keys) {
    for (int panel = 0; panel < n; panel += kPanel) {
      float* lanes = s.keyLanes + int64_t(panel) * s.keyStride;
      Vec factors[kTileVecs];
      for (int c = 0; c < kTileVecs; ++c) factors[c] = load(s.decays.toEnd + panel + c * kLanes);
      for (int d = 0; d < p.headDim; ++d, lanes += kPanel) {
#pragma GCC unroll 4
        for (int c = 0; c < kTileVecs; ++c) store(lanes + c * kLanes, mul(load(lanes + c * kLanes), factors[c]));
      }
    }
    return;
  }
  for (int r = 0; r < n; ++r) {
    const Vec factor = splat(s.decays.toEnd[r]);
    float* row = s.keyFeatures + int64_t(r) * s.featureStride;
    for (int f = 0; f < s.featureStride; f += kLanes) store(row + f, mul(load(row + f), factor));
  }
}

// normalizer = kept normalizer + the sum of the chunk's keys.
void addKeys(const LinearProblem& p, int n, float kept, float* normalizer, const ChunkScratch& s) {
  const Vec factor = splat(kept), count = splat(float(n));
  for (int f = 0; f < s.featureStride; f += kLanes) {
    Vec x = mul(load(normalizer + f), factor);
    if (s.keyFeatures != s.keys) {
      for (int r = 0; r < n; ++r) x = add(x, load(s.keyFeatures + int64_t(r) * s.featureStride + f));
    } else {
      Vec sums[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        sums[i] = zero();
        for (int token = 0; token < n && f + i < p.headDim; token += kLanes) {
          const int panel = token / kPanel * kPanel;
          const float* lanes = s.keyLanes + int64_t(panel) * s.keyStride + (f + i) * kPanel + (token - panel);
          sums[i] = add(sums[i], whereLess(load(s.indices + token), count, load(lanes), zero()));
        }
      }
      x = add(x, reduceAddEach(sums));
    }
    store(normalizer + f, x);
  }
}

// state = e^sum state + keys values of the chunk. The keys are spent.
void addChunk(const LinearGroup& g, const StateShape& shape, int n, double sum, float* state, const ChunkScratch& s) {
  const LinearProblem& p = *g.problem;
  const float kept = expOf(sum);
  if (p.decay) decayKeys(p, n, s);
  Vec keptLanes[kTileVecs];
  for (int c = 0; c < kTileVecs; ++c) keptLanes[c] = splat(kept);
  const bool areLanes = s.keyFeatures == s.keys;
  for (int strip = 0; strip < shape.strips; ++strip) {
    const float* values = s.values + int64_t(strip) * g.chunk * kPanel;
    float* rows = state + strip * shape.stripFloats();
    forEachTile(shape.features, [&](auto tile, int first) SIMD_LAMBDA {
      s.requests->step();
      tile.readScaled(rows + int64_t(first) * kPanel, keptLanes);
      for (int panel = 0; panel < n; panel += kPanel) {
        const int count = smaller(kPanel, n - panel);
        const float* keys = areLanes ? s.keyLanes + int64_t(panel) * s.keyStride + int64_t(first) * kPanel
                                     : s.keyFeatures + int64_t(panel) * s.featureStride + first;
        addProducts(tile, keys, areLanes ? 1 : s.featureStride, areLanes ? kPanel : 1, values + panel * kPanel, count);
      }
      tile.writeTo(rows + int64_t(first) * kPanel);
    });
  }
  if (p.isNormalized) addKeys(p, n, kept, state + shape.normalizerAt(), s);
}

// into = from + factor * carried, of a state's rows and normalizer.
void addCarried(const StateShape& shape, const float* from, float factor, const float* carried, float* into) {
  const Vec f = splat(factor);
  for (int64_t i = 0; i < shape.decayAt(); i += kLanes) store(into + i, mulAdd(load(carried + i), f, load(from + i)));
}
