// The solution per row by conjugate gradients, and what is done for a panel. Included inside a target's anonymous
// namespace after passes.inl. Reader: someone who asks when a row is done. Rows are lanes and stop one by one; a panel
// goes on until all have. Idea of the
// second orthogonalisation: Lanczos with full reorthogonalisation (Golub and Van Loan).

// The part of the first residual that counts as 0: float32 has no more digits.
constexpr float kZeroResidual = 1e-8f;

// Calls step(element, vector of lanes) for every dim of the panel's vectors.
template <class Step>
SIMD void forEachVector(int dim, Step&& step) {
  for (int d = 0; d < dim; ++d) {
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) step(d * kPanel + c * kLanes, c);
  }
}

// Makes the residual orthogonal to those of the `count` iterations before.
void orthogonalise(const Panel& s, int count) {
  const int dim = s.p->headDim;
  for (int i = 0; i < smaller(count, s.keptResiduals); ++i) {
    const float* const before = s.residuals + int64_t(i) * dim * kPanel;
    Vec share[kTileVecs];
    dotLanes(s.residual, before, dim, share);
    for (int c = 0; c < kTileVecs; ++c) share[c] = mul(share[c], load(s.sizes + i * kPanel + c * kLanes));
    forEachVector(dim, [&](int at, int c) {
      store(s.residual + at, sub(load(s.residual + at), mul(share[c], load(before + at))));
    });
  }
}

void keepResidual(const Panel& s, int index, const Vec (&size)[kTileVecs]) {
  if (index >= s.keptResiduals) return;
  const int64_t floats = int64_t(s.p->headDim) * kPanel;
  __builtin_memcpy(s.residuals + index * floats, s.residual, size_t(floats) * sizeof(float));
  for (int c = 0; c < kTileVecs; ++c) store(s.sizes + index * kPanel + c * kLanes, inverseOrZero(size[c]));
}

// solution = (C + lambda I)^-1 (kbar - q)
bool solve(const Panel& s, const Vec (&base)[kTileVecs]) {
  const LocalLinearProblem& p = *s.p;
  const int dim = p.headDim;
  setZeros(s.solution, int64_t(dim) * kPanel);
  forEachVector(dim, [&](int at, int c) {
    const Vec x = sub(mul(load(s.mean + at), inverseOrZero(s.total[c])), load(s.query + at));
    store(s.residual + at, x);
    store(s.direction + at, x);
  });
  Vec size[kTileVecs], enough[kTileVecs];  // squares of the residual's length, and of that at which a row is done
  dotLanes(s.residual, s.residual, dim, size);
  const Vec part = splat(larger(p.tolerance * p.tolerance, kZeroResidual * kZeroResidual));
  for (int c = 0; c < kTileVecs; ++c) enough[c] = max(splat(FLT_MIN), mul(size[c], part));
  for (int32_t i = 0; i < p.iterations; ++i) {
    Vec isActive[kTileVecs], most = zero();
    for (int c = 0; c < kTileVecs; ++c) {
      isActive[c] = whereLess(enough[c], size[c], splat(1.0f), zero());
      most = max(isActive[c], most);
    }
    if (reduceMax(most) == 0) return true;
    keepResidual(s, i, size);
    if (!applyCovariance(s, base)) return false;
    Vec curvature[kTileVecs], step[kTileVecs], next[kTileVecs], share[kTileVecs];
    dotLanes(s.direction, s.product, dim, curvature);
    for (int c = 0; c < kTileVecs; ++c) {
      const Vec x = whereLess(zero(), curvature[c], div(size[c], curvature[c]), zero());
      step[c] = whereLess(zero(), isActive[c], x, zero());
    }
    forEachVector(dim, [&](int at, int c) {
      store(s.solution + at, mulAdd(step[c], load(s.direction + at), load(s.solution + at)));
      store(s.residual + at, sub(load(s.residual + at), mul(step[c], load(s.product + at))));
    });
    orthogonalise(s, i + 1);
    dotLanes(s.residual, s.residual, dim, next);
    for (int c = 0; c < kTileVecs; ++c) {
      share[c] = whereLess(zero(), step[c], div(next[c], size[c]), zero());
      // A row without curvature is done: what is left of its residual is rounding.
      size[c] = whereLess(zero(), isActive[c], whereLess(zero(), step[c], next[c], zero()), size[c]);
    }
    forEachVector(dim, [&](int at, int c) {
      store(s.direction + at, mulAdd(share[c], load(s.direction + at), load(s.residual + at)));
    });
  }
  return true;
}

void runPanel(const LocalLinearTask& task, float* scratch) {
  const LocalLinearProblem& p = *task.problem;
  Panel s;
  beginPanel(task, scratch, s);
  Vec base[kTileVecs], along[kTileVecs];
  if (!findBase(s, base)) return;
  if (p.isSolved()) {
    setZeros(s.mean, int64_t(p.headDim) * kPanel);
    const bool isComplete = sumWeights(s, base, [&](const Block& b, const BlockRows& keys, const float* weights) {
      addKeys(s, b, keys, weights, s.mean);
    });
    if (!isComplete || !solve(s, base)) return;
    alongMean(s, s.solution, along);
  } else {
    readLanes(s, p.correction, s.solution);
    for (Vec& x : along) x = zero();
    const bool isComplete = sumWeights(s, base, [&](const Block& b, const BlockRows& keys, const float* weights) {
      multiply(keys, b.count, p.headDim, s.solution, s.products);
      mapBlock(s, b, 0, s.products,
               [&](Vec x, int i, int c) { return mul(x, load(weights + i * kPanel + c * kLanes)); });
      for (int i = 0; i < b.count; ++i) {
        for (int c = 0; c < kTileVecs; ++c) along[c] = add(along[c], load(s.products + i * kPanel + c * kLanes));
      }
    });
    if (!isComplete) return;
    for (int c = 0; c < kTileVecs; ++c) along[c] = mul(along[c], inverseOrZero(s.total[c]));
  }
  writeCorrected(s, base, s.solution, along);
}
