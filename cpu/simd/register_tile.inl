// RegisterTile: the accumulators of both products, Rows x (kTileVecs vectors), living in registers.
// Included inside a target's anonymous namespace. Reader: the fused loop, which speaks in these words.
//
// Queries are in the vector lanes, so S^T = K Q^T and O^T = V^T P^T are the same outer-product loop: an element of K or
// V is broadcast against a row of queries or probabilities. K and V are read as they are in memory; nothing is packed.

constexpr int kPanel = kTileVecs * kLanes;  // query lanes of a panel

template <int Rows>
struct RegisterTile {
  static constexpr int kRows = Rows;
  Vec acc[Rows][kTileVecs];

  SIMD void setZero() {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) acc[r][c] = zero();
  }

  // acc = p, or 0 of null.
  SIMD void startFrom(const float* p) {
    if (!p) return setZero();
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) acc[r][c] = load(p + r * kPanel + c * kLanes);
  }

  // acc = p * factor, one factor per lane.
  SIMD void readScaled(const float* p, const Vec (&factor)[kTileVecs]) {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) acc[r][c] = mul(load(p + r * kPanel + c * kLanes), factor[c]);
  }

  // acc[r] += a[r * stride] * b
  SIMD void addOuter(const float* a, int64_t stride, const float* b) {
    Vec row[kTileVecs];
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) row[c] = load(b + c * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const Vec x = splat(a[r * stride]);
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) acc[r][c] = mulAdd(x, row[c], acc[r][c]);
    }
  }

  SIMD void writeTo(float* p) const {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) store(p + r * kPanel + c * kLanes, acc[r][c]);
  }

  // most = max(most, every row), lane by lane. NaN scores do not raise it: exp carries them into the sum.
  SIMD void raiseTo(Vec (&most)[kTileVecs]) const {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) most[c] = max(acc[r][c], most[c]);
  }
};

// acc += sum over i < n of a[i * step + r * stride] (outer) b[i], b[i] a row of kPanel lanes.
// kUnroll steps per trip: the trip count stays small enough for its end to be predicted, which an unrolled AVX2 tile
// gains 4-6 points from (98 % of peak in L1). The fences keep GCC from hoisting loads over steps and spilling for it.
template <int Rows>
SIMD void addProducts(RegisterTile<Rows>& tile, const float* a, int64_t step, int64_t stride, const float* b, int n) {
  int i = 0;
  if constexpr (kUnroll > 1) {
#pragma GCC unroll 1
    for (; i + kUnroll <= n; i += kUnroll) {
#pragma GCC unroll 4
      for (int u = 0; u < kUnroll; ++u, a += step, b += kPanel) {
        tile.addOuter(a, stride, b);
        __asm__ volatile("" ::: "memory");
      }
    }
  }
#pragma GCC unroll 1
  for (; i < n; ++i, a += step, b += kPanel) tile.addOuter(a, stride, b);
}

template <int Rows, class Step>
SIMD void dispatchRows(int rows, int first, Step& step) {
  if (rows == Rows) {
    step(RegisterTile<Rows>{}, first);
  } else if constexpr (Rows > 1) {
    dispatchRows<Rows - 1>(rows, first, step);
  }
}

// Cuts n rows into register tiles of at most `Most` rows and calls step(tile, first row) for each. A rest of up to half
// a tile shares its rows with the tile before it: two or four accumulators do not hide the FMA latency (a lone row
// costs as much as four). A step is compiled once per number of rows: whole tiles have a loop, all others a single
// call.
template <int Most = kTileRows, class Step>
SIMD void forEachTile(int n, Step&& step) {
  const int rest = n % Most;
  const bool share = rest > 0 && rest <= Most / 2 && n > Most;
  const int whole = n - rest - (share ? Most : 0);
  int first = 0;
  for (; first < whole; first += Most) step(RegisterTile<Most>{}, first);
  for (int rows = 0; first < n; first += rows) {
    rows = n - first < Most ? n - first : ceilDiv(n - first, 2);
    dispatchRows<Most - 1>(rows, first, step);
  }
}

// Rows per register tile of strips one vector wide, which are load-bound. In L1 8, 12 and 16 rows reach 80, 82 and 69 %
// of the FMA peak with AVX-512, 77, 80 and 59 % with AVX2 (Zen 5).
constexpr int kNarrowTile = 12;

// acc[r] += products of elements [begin, end) of row r with a strip: rows in the lanes as in a tile, but of Vecs
// vectors, and a's rows anywhere.
template <int Rows, int Vecs>
SIMD void addStripProducts(const float* const (&row)[Rows], int begin, int end, const float* strip,
                           Vec (&acc)[Rows][Vecs]) {
  strip += int64_t(begin) * Vecs * kLanes;
#pragma GCC unroll 1
  for (int d = begin; d < end; ++d, strip += Vecs * kLanes) {
    Vec q[Vecs];
#pragma GCC unroll 4
    for (int c = 0; c < Vecs; ++c) q[c] = load(strip + c * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const Vec x = splat(row[r][d]);
#pragma GCC unroll 4
      for (int c = 0; c < Vecs; ++c) acc[r][c] = mulAdd(x, q[c], acc[r][c]);
    }
  }
}

// acc[r] = products of row r with a strip.
template <int Rows, int Vecs>
SIMD void stripProducts(const float* const (&row)[Rows], const float* strip, int n, Vec (&acc)[Rows][Vecs]) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < Vecs; ++c) acc[r][c] = zero();
  addStripProducts(row, 0, n, strip, acc);
}
