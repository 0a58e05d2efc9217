// What chunks of linear attention and of the gated delta rule have in common: decays of tokens, products of pairs of
// them, triangles, states in strips. Included inside a target's anonymous namespace after simd/. Reader: someone who
// changes one of the two loops. A chunk has n tokens r = 0, 1 ...; values and states are in strips of kPanel columns.

// What makes GCC inline a lambda into a loop over register tiles.
#define SIMD_LAMBDA __attribute__((always_inline))

// Decays of a chunk's tokens: their running sums c_r in natural logarithms, e^c_r, and e^(c_last - c_r).
struct ChunkDecays {
  double* sums;
  float *fromStart, *toEnd;
};

void layOutDecays(int padded, Carver& carver, ChunkDecays& s) {
  carver.take(s.fromStart, padded);
  carver.take(s.toEnd, padded);
  carver.take(s.sums, padded);
}

// What one operand has of the next chunk: the rows of some tokens and heads, requested from memory in the order of
// their addresses, a piece at a time.
struct Ahead {
  const char* at = nullptr;
  int64_t run = 0, offset = 0;  // bytes that follow each other, and those of them that are requested
  int64_t innerStep = 0, outerStep = 0;  // from run to run, and from `inner` runs to the next ones
  int inner = 1, done = 0;
  int64_t pieces = 0, left = 0, due = 0;

  SIMD Ahead() = default;
  SIMD Ahead(const Operand& operand, DType type, int64_t batch, Token first, int count, int32_t head, int32_t heads,
             int dim)
      : at(static_cast<const char*>(operand.data) + operand.offset(batch, first, head) * sizeOf(type)) {
    const int64_t size = sizeOf(type), row = dim * operand.dim;
    const bool areTokensOuter = magnitude(operand.token) >= magnitude(operand.head);
    int64_t innerStride = areTokensOuter ? operand.head : operand.token;
    inner = areTokensOuter ? heads : count;
    int64_t elements = row;
    if (innerStride == row) {
      elements *= inner;
      inner = 1;
    }
    run = elements * size;
    innerStep = innerStride * size;
    outerStep = (areTokensOuter ? operand.token : operand.head) * size;
    pieces = left = ceilDiv<int64_t>(run, kAheadBytes) * inner * (areTokensOuter ? count : heads);
  }
  // One of `steps`.
  SIMD void step(int64_t steps) {
    for (due += pieces; due >= steps && left > 0; due -= steps) request();
  }

 private:
  static SIMD int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }
  SIMD void request() {
    prefetchRow<2>(at + offset, smaller(kAheadBytes, run - offset));
    --left;
    offset += kAheadBytes;
    if (offset < run) return;
    offset = 0;
    if (++done < inner) {
      at += innerStep;
    } else {
      at += outerStep - (inner - 1) * innerStep;
      done = 0;
    }
  }
};

// What is computed meanwhile takes a step per register tile, `steps` in all.
struct Requests {
  Ahead keys, values, queries, outputs;
  int64_t steps = 1;

  SIMD void step() {
    keys.step(steps);
    values.step(steps);
    queries.step(steps);
    outputs.step(steps);
  }
};

SIMD void setZeros(float* to, int64_t count) { __builtin_memset(to, 0, size_t(count) * sizeof(float)); }

SIMD const void* rowOf(const Operand& operand, DType type, int64_t batch, Token token, int32_t head) {
  return elementAt(operand.data, type, operand.offset(batch, token, head));
}

// -Infinity becomes a number whose exponential is 0 and whose sums stay exact.
SIMD double finiteDecay(float decay) { return double(larger(decay, -1e5f)); }

SIMD float expOf(double x) {
  float value[kLanes];
  store(value, exp(splat(float(larger(x, -1e4)))));
  return value[0];
}

// Keys as lanes: keyLanes[panel][d][kPanel].
void layOutKeys(int n, int keyStride, float* keys, float* keyLanes) {
  const int padded = ceilDiv(n, kPanel) * kPanel;
  setZeros(keys + int64_t(n) * keyStride, int64_t(padded - n) * keyStride);
  for (int panel = 0; panel < padded; panel += kPanel) {
    const float* rows[kPanel];
    for (int i = 0; i < kPanel; ++i) rows[i] = keys + int64_t(panel + i) * keyStride;
    rowsToLanes(rows, keyStride, 1.0f, keyLanes + int64_t(panel) * keyStride);
  }
}

// decayAt(r) is the decay of token r. Returns their sum.
template <class DecayAt>
double sumDecays(int n, const ChunkDecays& s, DecayAt&& decayAt) {
  double sum = 0;
  for (int r = 0; r < n; ++r) {
    sum += decayAt(r);
    s.sums[r] = sum;
  }
  const int padded = ceilDiv(n, kPanel) * kPanel;
  for (int r = 0; r < n; ++r) {
    s.fromStart[r] = float(s.sums[r]);
    s.toEnd[r] = float(sum - s.sums[r]);
  }
  for (int r = n; r < padded; ++r) s.fromStart[r] = s.toEnd[r] = 0;
  for (int r = 0; r < padded; r += kLanes) {
    store(s.fromStart + r, exp(load(s.fromStart + r)));
    store(s.toEnd + r, exp(load(s.toEnd + r)));
  }
  return sum;
}

// weights[r][r'] = e^(c_r - c_r') of r' <= r; behind them any number up to the end of the panel.
void weighPairs(int n, const ChunkDecays& s, int stride, float* weights) {
  for (int r = 0; r < n; ++r) {
    float* row = weights + int64_t(r) * stride;
    const double at = s.sums[r];
    const int end = (r / kLanes + 1) * kLanes;
    for (int i = 0; i <= r; ++i) row[i] = float(at - s.sums[i]);
    for (int i = r + 1; i < end; ++i) row[i] = 0;
    for (int i = 0; i < end; i += kLanes) store(row + i, exp(load(row + i)));
    for (int i = end; i < ceilDiv(end, kPanel) * kPanel; ++i) row[i] = 0;
  }
}

// Register tiles of the pairs of n tokens, and of so many strips of n rows.
SIMD int64_t pairTiles(int n) {
  int64_t tiles = 0;
  for (int panel = 0; panel < n; panel += kPanel) {
    const int narrow = smaller(kLanes, n - panel);
    tiles += ceilDiv(narrow, kTileRows) + ceilDiv(n - panel - narrow, kTileRows);
  }
  return tiles;
}
SIMD int64_t stripTiles(int strips, int n) { return int64_t(strips) * ceilDiv(n, kTileRows); }

struct PairShape {
  int n, dim;  // tokens, elements of their rows
  int rowStride, pairStride;
};

// pairs[r][r'] = finish(product of row r and key r', r, element of pairs, r'), a vector of r' at a time, for the
// vectors of keys up to that of r. The rows of a panel's first vector of keys do not see the others.
template <class Finish>
SIMD void multiplyPairs(const PairShape& shape, const float* rows, const float* keyLanes, float* pairs,
                        Requests& requests, Finish&& finish) {
  for (int panel = 0; panel < shape.n; panel += kPanel) {
    const float* lanes = keyLanes + int64_t(panel) * shape.rowStride;
    const int narrow = smaller(kLanes, shape.n - panel);
    forEachTile(narrow, [&](auto tile, int first) SIMD_LAMBDA {
      const int from = panel + first;
      requests.step();
      constexpr int kRows = decltype(tile)::kRows;
      const float* row[kRows];
      Vec acc[kRows];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        row[r] = rows + int64_t(from + r) * shape.rowStride;
        acc[r] = zero();
      }
#pragma GCC unroll 1
      for (int d = 0; d < shape.dim; ++d) {
        const Vec keys = load(lanes + int64_t(d) * kPanel);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) acc[r] = mulAdd(splat(row[r][d]), keys, acc[r]);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const int64_t at = int64_t(from + r) * shape.pairStride + panel;
        store(pairs + at, finish(acc[r], from + r, at, panel));
      }
    });
    forEachTile(shape.n - panel - narrow, [&](auto tile, int first) SIMD_LAMBDA {
      const int from = panel + narrow + first;
      requests.step();
      tile.setZero();
      addProducts(tile, rows + int64_t(from) * shape.rowStride, 1, shape.rowStride, lanes, shape.dim);
#pragma GCC unroll 16
      for (int r = 0; r < decltype(tile)::kRows; ++r) {
        const int64_t at = int64_t(from + r) * shape.pairStride + panel;
#pragma GCC unroll 4
        for (int c = 0; c < kTileVecs; ++c) {
          store(pairs + at + c * kLanes, finish(tile.acc[r][c], from + r, at + c * kLanes, panel + c * kLanes));
        }
      }
    });
  }
}

// acc[r] += scores[r][0 .. r] values: a triangle of the chunk's tokens, rows of the tile the last ones.
template <int Rows>
SIMD void addTriangle(RegisterTile<Rows>& tile, const float* scores, int64_t stride, const float* values) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    Vec row[kTileVecs];
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) row[c] = load(values + i * kPanel + c * kLanes);
#pragma GCC unroll 16
    for (int r = i; r < Rows; ++r) {
      const Vec x = splat(scores[r * stride + i]);
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) tile.acc[r][c] = mulAdd(x, row[c], tile.acc[r][c]);
    }
  }
}

template <int Rows>
SIMD void scaleRows(RegisterTile<Rows>& tile, const float* factor) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    const Vec x = splat(factor[r]);
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) tile.acc[r][c] = mul(tile.acc[r][c], x);
  }
}

// Strip `strip` of `count` rows of `columns` elements, and back.
void readStrip(const float* rows, int count, int columns, int strip, float* to) {
  const int begin = strip * kPanel, width = smaller(kPanel, columns - begin);
  for (int i = 0; i < count; ++i, to += kPanel) {
    __builtin_memcpy(to, rows + int64_t(i) * columns + begin, width * sizeof(float));
  }
}
void writeStrip(const float* from, int count, int columns, int strip, float* rows) {
  const int begin = strip * kPanel, width = smaller(kPanel, columns - begin);
  for (int i = 0; i < count; ++i, from += kPanel) {
    __builtin_memcpy(rows + int64_t(i) * columns + begin, from, width * sizeof(float));
  }
}

// Up to a vector of n numbers; 0 behind them.
SIMD Vec loadFirst(const float* p, int n) {
  if (n >= kLanes) return load(p);
  float values[kLanes] = {};
  __builtin_memcpy(values, p, size_t(n) * sizeof(float));
  return load(values);
}
SIMD void storeFirst(float* p, Vec x, int n) {
  if (n >= kLanes) return store(p, x);
  float values[kLanes];
  store(values, x);
  __builtin_memcpy(p, values, size_t(n) * sizeof(float));
}

// Calls step(vectors, first column, elements of a vector at most) for `columns` columns: 8 or 4 vectors of them at
// once, what is left by single ones, of which the last may not be full.
template <class Step>
SIMD void forEachColumns(int columns, Step&& step) {
  int e = 0;
  for (; e + 8 * kLanes <= columns; e += 8 * kLanes) step(std::integral_constant<int, 8>(), e, kLanes);
  for (; e + 4 * kLanes <= columns; e += 4 * kLanes) step(std::integral_constant<int, 4>(), e, kLanes);
  for (; e < columns; e += kLanes) step(std::integral_constant<int, 1>(), e, columns - e);
}
