// Chunks of the gated delta rule. Included inside a target's anonymous namespace after linear/pairs.inl. Reader:
// someone who asks what is computed for a chunk of n tokens, with c_r the decays of its tokens 0 to r, summed, and
// u_r = beta_r (v_r - what the state before token r says of k_r), that which token r takes up:
//   (I + L) U = diag(beta) (V - diag(e^c_r) K S),   L_rr' = beta_r e^(c_r - c_r') k_r.k_r' for r' < r
//   O = scale [ diag(e^c_r) Q S + ((Q K^T) * e^(c_r - c_r'))_{r >= r'} U ]
//   S <- e^c_last S + (diag(e^(c_last - c_r)) K)^T U
// Idea: the WY form of DeltaNet (arXiv 2406.06484) and Gated DeltaNet (arXiv 2412.06464), where I + L is inverted; here
// U is found row by row, in register tiles.

struct DeltaScratch {
  int keyStride, pairStride;
  float *keys, *keyLanes, *queries, *row;
  float* taken;  // [strip][chunk][kPanel]: beta V, then U
  float *feedback, *scores;  // [chunk][pairStride]: -L, and pairs of a query and a key
  float *weights, *outputs, *betas, *factors, *indices;
  ChunkDecays decays;
  Requests* requests;
  float* state;  // [strip][headDim][kPanel]
};

int64_t layOutDelta(const DeltaProblem& p, int strips, int chunk, float* base, DeltaScratch& s) {
  const int padded = ceilDiv(chunk, kPanel) * kPanel;
  s.keyStride = paddedDim(p.headDim);
  s.pairStride = padded;
  Carver carver(base);
  carver.take(s.keys, int64_t(padded) * s.keyStride);
  carver.take(s.keyLanes, int64_t(padded) * s.keyStride);
  carver.take(s.queries, int64_t(chunk) * s.keyStride);
  carver.take(s.row, paddedDim(p.valueDim) + kPanel);
  carver.take(s.taken, int64_t(strips) * chunk * kPanel);
  carver.take(s.feedback, int64_t(chunk) * padded);
  carver.take(s.scores, int64_t(chunk) * padded);
  carver.take(s.weights, int64_t(chunk) * padded);
  carver.take(s.outputs, int64_t(strips) * chunk * kPanel);
  carver.take(s.betas, padded);
  carver.take(s.factors, padded);
  carver.take(s.indices, padded);
  layOutDecays(padded, carver, s.decays);
  carver.take(s.state, int64_t(strips) * p.headDim * kPanel);
  return carver.floats();
}

// A row of q or k with its padding, divided by its length where the problem says so.
void readUnitRow(const DeltaProblem& p, const Operand& operand, int64_t batch, Token token, int32_t head, float* row) {
  const int padded = paddedDim(p.headDim);
  for (int d = padded - 16; d < padded; ++d) row[d] = 0;
  readRow(rowOf(operand, p.dtype, batch, token, head), p.dtype, operand.dim, p.headDim, row);
  if (!p.hasUnitRows) return;
  Vec sums[kLanes];
  for (Vec& sum : sums) sum = zero();
  for (int d = 0; d < padded; d += kLanes) sums[0] = mulAdd(load(row + d), load(row + d), sums[0]);
  float sum[kLanes];
  store(sum, reduceAddEach(sums));
  const Vec factor = splat(1 / __builtin_sqrtf(sum[0] + 1e-6f));
  for (int d = 0; d < padded; d += kLanes) store(row + d, mul(load(row + d), factor));
}

SIMD double decayAt(const DeltaProblem& p, int64_t batch, Token token, int32_t head) {
  return p.decay.data ? finiteDecay(p.decay.at(batch, token, head)) : 0;
}

// The task's columns of a value row, times `factor`, to rows that are `stride` apart per strip. `row` has room for it.
void readValue(const DeltaTask& t, int64_t batch, Token token, float factor, float* row, float* to, int64_t stride) {
  const DeltaProblem& p = *t.problem;
  const int begin = t.firstStrip * kPanel, columns = smaller(t.strips * kPanel, p.valueDim - begin);
  const int64_t at = p.value.offset(batch, token, t.head) + begin * p.value.dim;
  for (int e = larger(0, columns - 16); e < t.strips * kPanel; ++e) row[e] = 0;
  readRow(elementAt(p.value.data, p.dtype, at), p.dtype, p.value.dim, columns, row);
  const Vec f = splat(factor);
  for (int strip = 0; strip < t.strips; ++strip) {
    for (int c = 0; c < kPanel; c += kLanes) {
      store(to + strip * stride + c, mul(load(row + strip * kPanel + c), f));
    }
  }
}

// The same columns of an output row.
void writeOutput(const DeltaTask& t, int64_t batch, Token token, int32_t head, const float* row) {
  const DeltaProblem& p = *t.problem;
  const int begin = t.firstStrip * kPanel, columns = smaller(t.strips * kPanel, p.valueDim - begin);
  const int64_t at = p.out.offset(batch, token, head) + begin * p.out.dim;
  writeRow(row, columns, p.dtype, p.out.dim, static_cast<char*>(p.out.data) + at * sizeOf(p.dtype));
}

// acc[r] += sum over i < r of pairs[r][i] acc[i], row after row: each is complete before those behind it read it.
template <int Rows>
SIMD void substitute(RegisterTile<Rows>& tile, const float* pairs, int64_t stride) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 16
    for (int r = i + 1; r < Rows; ++r) {
      const Vec x = splat(pairs[r * stride + i]);
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) tile.acc[r][c] = mulAdd(x, tile.acc[i][c], tile.acc[r][c]);
    }
  }
}

template <int Rows>
SIMD void addRows(RegisterTile<Rows>& tile, const float* rows) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) tile.acc[r][c] = add(tile.acc[r][c], load(rows + r * kPanel + c * kLanes));
}

// U in place of beta V.
void solveChunk(const DeltaTask& t, int n, bool hasState, const DeltaScratch& s) {
  const DeltaProblem& p = *t.problem;
  const PairShape shape{n, p.headDim, s.keyStride, s.pairStride};
  multiplyPairs(shape, s.keys, s.keyLanes, s.feedback, *s.requests,
                [&](Vec x, int row, int64_t at, int column) SIMD_LAMBDA {
                  x = mul(x, splat(-s.betas[row]));
                  if (p.decay.data) x = mul(x, load(s.weights + at));
                  return whereLess(load(s.indices + column), splat(float(row)), x, zero());
                });
  for (int r = 0; r < n; ++r) s.factors[r] = -s.betas[r] * s.decays.fromStart[r];
  for (int strip = 0; strip < t.strips; ++strip) {
    float* const taken = s.taken + int64_t(strip) * t.chunk * kPanel;
    const float* const state = s.state + int64_t(strip) * p.headDim * kPanel;
    forEachTile(n, [&](auto tile, int from) SIMD_LAMBDA {
      s.requests->step();
      tile.setZero();
      if (hasState) {
        addProducts(tile, s.keys + int64_t(from) * s.keyStride, 1, s.keyStride, state, p.headDim);
        scaleRows(tile, s.factors + from);
      }
      addRows(tile, taken + int64_t(from) * kPanel);
      const float* feedback = s.feedback + int64_t(from) * s.pairStride;
      addProducts(tile, feedback, 1, s.pairStride, taken, from);
      substitute(tile, feedback + from, s.pairStride);
      tile.writeTo(taken + int64_t(from) * kPanel);
    });
  }
}

// The outputs of one head for n tokens from `first` on.
void writeOutputs(const DeltaTask& t, int32_t head, Token first, int n, bool hasState, const DeltaScratch& s) {
  const DeltaProblem& p = *t.problem;
  const int64_t batch = p.batchOf(t.sequence);
  for (int r = 0; r < n; ++r) {
    readUnitRow(p, p.query, batch, first + r, p.queryHead(head), s.queries + int64_t(r) * s.keyStride);
  }
  const PairShape shape{n, p.headDim, s.keyStride, s.pairStride};
  multiplyPairs(shape, s.queries, s.keyLanes, s.scores, *s.requests,
                [&](Vec x, int row, int64_t at, int column) SIMD_LAMBDA {
                  if (p.decay.data) x = mul(x, load(s.weights + at));
                  return whereLess(splat(float(row)), load(s.indices + column), zero(), x);
                });
  for (int r = 0; r < n; ++r) s.factors[r] = p.scale;
  const int stride = t.strips * kPanel;
  for (int strip = 0; strip < t.strips; ++strip) {
    const float* const taken = s.taken + int64_t(strip) * t.chunk * kPanel;
    const float* const state = s.state + int64_t(strip) * p.headDim * kPanel;
    forEachTile(n, [&](auto tile, int from) SIMD_LAMBDA {
      s.requests->step();
      tile.setZero();
      if (hasState) {
        addProducts(tile, s.queries + int64_t(from) * s.keyStride, 1, s.keyStride, state, p.headDim);
        scaleRows(tile, s.decays.fromStart + from);
      }
      const float* scores = s.scores + int64_t(from) * s.pairStride;
      addProducts(tile, scores, 1, s.pairStride, taken, from);
      addTriangle(tile, scores + from, s.pairStride, taken + int64_t(from) * kPanel);
      scaleRows(tile, s.factors + from);
#pragma GCC unroll 16
      for (int r = 0; r < decltype(tile)::kRows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < kTileVecs; ++c)
          store(s.outputs + int64_t(from + r) * stride + strip * kPanel + c * kLanes, tile.acc[r][c]);
    });
  }
  for (int r = 0; r < n; ++r) writeOutput(t, batch, first + r, head, s.outputs + int64_t(r) * stride);
}

// The state behind the chunk. The keys are spent.
void advanceState(const DeltaTask& t, int n, double sum, const DeltaScratch& s) {
  const DeltaProblem& p = *t.problem;
  if (p.decay.data) {
    for (int r = 0; r < n; ++r) {
      const Vec factor = splat(s.decays.toEnd[r]);
      float* row = s.keys + int64_t(r) * s.keyStride;
      for (int d = 0; d < s.keyStride; d += kLanes) store(row + d, mul(load(row + d), factor));
    }
  }
  Vec kept[kTileVecs];
  for (int c = 0; c < kTileVecs; ++c) kept[c] = splat(expOf(sum));
  for (int strip = 0; strip < t.strips; ++strip) {
    const float* const taken = s.taken + int64_t(strip) * t.chunk * kPanel;
    float* const state = s.state + int64_t(strip) * p.headDim * kPanel;
    forEachTile(p.headDim, [&](auto tile, int first) SIMD_LAMBDA {
      s.requests->step();
      tile.readScaled(state + int64_t(first) * kPanel, kept);
      addProducts(tile, s.keys + first, s.keyStride, 1, taken, n);
      tile.writeTo(state + int64_t(first) * kPanel);
    });
  }
}

void runChunks(const DeltaTask& t, float* scratch) {
  const DeltaProblem& p = *t.problem;
  DeltaScratch s;
  layOutDelta(p, t.strips, t.chunk, scratch, s);
  Requests requests;
  s.requests = &requests;
  const int64_t batch = p.batchOf(t.sequence), stateAt = p.stateAt(t.sequence, t.head);
  const int64_t stripFloats = int64_t(p.headDim) * kPanel;
  setZeros(s.state, t.strips * stripFloats);
  for (int strip = 0; strip < t.strips && p.stateIn; ++strip) {
    readStrip(p.stateIn + stateAt, p.headDim, p.valueDim, t.firstStrip + strip, s.state + strip * stripFloats);
  }
  for (int i = 0; i < s.pairStride; ++i) s.indices[i] = float(i);
  const Range tokens = p.tokensOf(t.sequence);
  for (Token first = tokens.begin; first < tokens.end; first += t.chunk) {
    const int n = smaller<Token>(t.chunk, tokens.end - first);
    for (int r = 0; r < n; ++r) {
      readUnitRow(p, p.key, batch, first + r, p.keyHead(t.head), s.keys + int64_t(r) * s.keyStride);
      s.betas[r] = p.beta.at(batch, first + r, t.head);
      readValue(t, batch, first + r, s.betas[r], s.row, s.taken + int64_t(r) * kPanel, int64_t(t.chunk) * kPanel);
    }
    const Token next = first + n;
    requests.steps = pairTiles(n) + stripTiles(t.strips, n);
    const int count = smaller<Token>(t.chunk, tokens.end - next);
    requests.keys = Ahead(p.key, p.dtype, batch, next, count, p.keyHead(t.head), 1, p.headDim);
    requests.values = Ahead(p.value, p.dtype, batch, next, count, t.head, 1, p.valueDim);
    layOutKeys(n, s.keyStride, s.keys, s.keyLanes);
    const double sum = sumDecays(n, s.decays, [&](int r) { return decayAt(p, batch, first + r, t.head); });
    if (p.decay.data) weighPairs(n, s.decays, s.pairStride, s.weights);
    const bool hasState = p.stateIn || first > tokens.begin;
    solveChunk(t, n, hasState, s);
    const int32_t heads = p.headsPerState();
    for (int32_t h = 0; h < heads; ++h) {
      const int32_t head = t.head * heads + h, nextHead = p.queryHead(h + 1 < heads ? head + 1 : t.head * heads);
      const Token nextFirst = h + 1 < heads ? first : next;
      requests.outputs = Ahead(p.out, p.dtype, batch, first, n, head, 1, p.valueDim);
      requests.queries = Ahead(p.query, p.dtype, batch, nextFirst, smaller<Token>(t.chunk, tokens.end - nextFirst),
                               nextHead, 1, p.headDim);
      writeOutputs(t, head, first, n, hasState, s);
    }
    if (p.state || first + n < tokens.end) advanceState(t, n, sum, s);
    if (!t.pause()) return;
  }
  for (int strip = 0; strip < t.strips && p.state; ++strip) {
    writeStrip(s.state + strip * stripFloats, p.headDim, p.valueDim, t.firstStrip + strip, p.state + stateAt);
  }
}
