// Passes of a panel over its keys. Included inside a target's anonymous namespace after panel.inl. Reader: start at
// runPanel(), which is the algorithm. Weights e^(s - max) of a block are found once and kept where there is room; else
// each pass finds them anew. What a row does not see is selected away, never multiplied by 0.

// out[i] = products of the block's rows and a vector per lane.
void multiply(const BlockRows& block, int count, int dim, const float* lanes, float* out) {
  forEachTile(count, [&](auto tile, int first) {
    tile.setZero();
    addProducts(tile, block.rows + first * block.stride, 1, block.stride, lanes, dim);
    tile.writeTo(out + first * kPanel);
  });
}

// sums += products of the block's columns and its weights.
void addWeighted(const BlockRows& block, int count, int dim, const float* weights, float* sums) {
  forEachTile(dim, [&](auto tile, int first) {
    tile.startFrom(sums + first * kPanel);
    addProducts(tile, block.rows + first, block.stride, 1, weights, count);
    tile.writeTo(sums + first * kPanel);
  });
}

// Ends of the rows, counted from the block's first key.
SIMD void endsIn(const Panel& s, const Block& b, Vec (&ends)[kTileVecs]) {
  float values[kPanel];
  for (int lane = 0; lane < kPanel; ++lane) values[lane] = float(clamp<Token>(s.ends[lane] - b.first, 0, b.count));
  for (int c = 0; c < kTileVecs; ++c) ends[c] = load(values + c * kLanes);
}

// The same as addWeighted() for rows that hold NaN or infinity and are hidden from some lanes. Rare.
void addSeen(const Panel& s, const Block& b, const BlockRows& block, int dim, const float* weights, float* sums) {
  Vec ends[kTileVecs];
  endsIn(s, b, ends);
  for (int i = 0; i < b.count; ++i) {
    for (int d = 0; d < dim; ++d) {
      const Vec x = splat(block.rows[i * block.stride + d]);
      for (int c = 0; c < kTileVecs; ++c) {
        float* const sum = sums + d * kPanel + c * kLanes;
        const Vec with = mulAdd(x, load(weights + i * kPanel + c * kLanes), load(sum));
        store(sum, whereLess(splat(float(i)), ends[c], with, load(sum)));
      }
    }
  }
}

void addKeys(const Panel& s, const Block& b, const BlockRows& keys, const float* weights, float* sums) {
  if (b.isMasked && !s.hasFiniteKeys) return addSeen(s, b, keys, s.p->headDim, weights, sums);
  addWeighted(keys, b.count, s.p->headDim, weights, sums);
}
void addValues(const Panel& s, const Block& b, const float* weights, float* sums) {
  const BlockRows values = valuesOf(s, b);
  if (b.isMasked && !s.hasFiniteValues) return addSeen(s, b, values, s.p->valueDim, weights, sums);
  addWeighted(values, b.count, s.p->valueDim, weights, sums);
}

void hide(const Panel& s, const Block& b, float hidden, float* x) {
  Vec ends[kTileVecs];
  endsIn(s, b, ends);
  for (int i = 0; i < b.count; ++i) {
    for (int c = 0; c < kTileVecs; ++c) {
      float* const at = x + i * kPanel + c * kLanes;
      store(at, whereLess(splat(float(i)), ends[c], load(at), splat(hidden)));
    }
  }
}

// x[i] = step(x[i], i, vector) for all keys of a block, `hidden` where a row does not see the key.
template <class Step>
SIMD void mapBlock(const Panel& s, const Block& b, float hidden, float* x, Step&& step) {
  for (int i = 0; i < b.count; ++i) {
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) {
      float* const at = x + i * kPanel + c * kLanes;
      store(at, step(load(at), i, c));
    }
  }
  if (b.isMasked) hide(s, b, hidden, x);
}

SIMD bool isKept(const Panel& s, const Block& b) { return b.first + b.count <= s.keptKeys; }
SIMD float* placeOfWeights(const Panel& s, const Block& b) {
  return isKept(s, b) ? s.kept + int64_t(b.first) * kPanel : s.scores;
}

// Scores of a block, -inf where hidden.
void findScores(const Panel& s, const Block& b, const BlockRows& keys, float* scores) {
  const Vec scale = splat(s.p->scale);
  multiply(keys, b.count, s.p->headDim, s.query, scores);
  mapBlock(s, b, -INFINITY, scores, [&](Vec x, int, int) { return mul(x, scale); });
}

void findWeights(const Panel& s, const Block& b, const Vec (&base)[kTileVecs], float* scores) {
  mapBlock(s, b, 0, scores, [&](Vec x, int, int c) { return exp(sub(x, base[c])); });
}

// The weights of a block, once they have been found for the first time.
const float* weightsOf(const Panel& s, const Block& b, const BlockRows& keys, const Vec (&base)[kTileVecs]) {
  if (isKept(s, b)) return placeOfWeights(s, b);
  findScores(s, b, keys, s.scores);
  findWeights(s, b, base, s.scores);
  return s.scores;
}

// lanes[c] = sum over dims of a b.
SIMD void dotLanes(const float* a, const float* b, int dim, Vec (&sums)[kTileVecs]) {
  for (int c = 0; c < kTileVecs; ++c) sums[c] = zero();
  for (int d = 0; d < dim; ++d) {
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) {
      const int at = d * kPanel + c * kLanes;
      sums[c] = mulAdd(load(a + at), load(b + at), sums[c]);
    }
  }
}

// base: what scores are subtracted from.
bool findBase(const Panel& s, Vec (&base)[kTileVecs]) {
  for (Vec& x : base) x = splat(-FLT_MAX);  // finite even for a row that sees nothing
  return forEachBlock(s, [&](const Block& b) {
    float* const scores = placeOfWeights(s, b);
    findScores(s, b, keysOf(s, b), scores);
    for (int i = 0; i < b.count; ++i) {
      for (int c = 0; c < kTileVecs; ++c) base[c] = max(load(scores + i * kPanel + c * kLanes), base[c]);
    }
  });
}

// The sum of the weights, and visit(block, keys, weights) for each block.
template <class Visit>
bool sumWeights(Panel& s, const Vec (&base)[kTileVecs], Visit&& visit) {
  for (Vec& x : s.total) x = zero();
  return forEachBlock(s, [&](const Block& b) {
    float* const weights = placeOfWeights(s, b);
    const BlockRows keys = keysOf(s, b);
    if (!isKept(s, b)) findScores(s, b, keys, weights);
    findWeights(s, b, base, weights);
    for (int i = 0; i < b.count; ++i) {
      for (int c = 0; c < kTileVecs; ++c) s.total[c] = add(s.total[c], load(weights + i * kPanel + c * kLanes));
    }
    visit(b, keys, weights);
  });
}

SIMD Vec inverseOrZero(Vec x) { return whereEqual(x, zero(), zero(), div(splat(1.0f), x)); }

// kbar.x per lane, where the mean is a sum that is not yet divided by the total.
SIMD void alongMean(const Panel& s, const float* x, Vec (&along)[kTileVecs]) {
  dotLanes(s.mean, x, s.p->headDim, along);
  for (int c = 0; c < kTileVecs; ++c) along[c] = mul(along[c], inverseOrZero(s.total[c]));
}

// product = (C + lambda I) direction
bool applyCovariance(const Panel& s, const Vec (&base)[kTileVecs]) {
  const LocalLinearProblem& p = *s.p;
  Vec along[kTileVecs], sum[kTileVecs];
  alongMean(s, s.direction, along);
  for (Vec& x : sum) x = zero();
  setZeros(s.product, int64_t(p.headDim) * kPanel);
  const bool isComplete = forEachBlock(s, [&](const Block& b) {
    const BlockRows keys = keysOf(s, b);
    const float* const weights = weightsOf(s, b, keys, base);
    multiply(keys, b.count, p.headDim, s.direction, s.products);
    mapBlock(s, b, 0, s.products, [&](Vec x, int i, int c) {
      x = mul(load(weights + i * kPanel + c * kLanes), sub(x, along[c]));
      return x;
    });
    for (int i = 0; i < b.count; ++i) {
      for (int c = 0; c < kTileVecs; ++c) sum[c] = add(sum[c], load(s.products + i * kPanel + c * kLanes));
    }
    addKeys(s, b, keys, s.products, s.product);
  });
  // The sum would be 0 in exact arithmetic.
  for (int c = 0; c < kTileVecs; ++c) {
    const Vec share = inverseOrZero(s.total[c]), off = mul(sum[c], share);
    for (int d = 0; d < p.headDim; ++d) {
      const int at = d * kPanel + c * kLanes;
      const Vec centred = sub(load(s.product + at), mul(off, load(s.mean + at)));
      store(s.product + at, mulAdd(centred, share, mul(splat(p.lambda), load(s.direction + at))));
    }
  }
  return isComplete;
}

// out = sum of p (1 - (r.k - along)) v
bool writeCorrected(const Panel& s, const Vec (&base)[kTileVecs], const float* r, const Vec (&along)[kTileVecs]) {
  const LocalLinearProblem& p = *s.p;
  setZeros(s.output, int64_t(paddedDim(p.valueDim)) * kPanel);
  const bool isComplete = forEachBlock(s, [&](const Block& b) {
    const BlockRows keys = keysOf(s, b);
    const float* const weights = weightsOf(s, b, keys, base);
    multiply(keys, b.count, p.headDim, r, s.products);
    mapBlock(s, b, 0, s.products, [&](Vec x, int i, int c) {
      return mul(load(weights + i * kPanel + c * kLanes), sub(splat(1.0f), sub(x, along[c])));
    });
    addValues(s, b, s.products, s.output);
  });
  if (!isComplete) return false;
  Vec factor[kTileVecs];
  for (int c = 0; c < kTileVecs; ++c) factor[c] = inverseOrZero(s.total[c]);
  writePanel(s, factor);
  return true;
}
