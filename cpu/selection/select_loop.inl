// Selection: the best score of each key of a list among the sampled rows of a block of queries.
// Included inside a target's anonymous namespace. Reader: start at scoreKeys() at the end.
//
// No softmax and no values, so nothing but the largest product of each key leaves the registers. Many rows are in the
// vector lanes as in the fused loop, with keys read by pointer since a list jumps about; a few rows (decode) have dims
// in the lanes instead, as in the decode loop.

static_assert(kScoredKeys % kTileRows == 0 && kScoredKeys % kLanes == 0 && kScoredKeys % kNarrowTile == 0);
static_assert(kDotRows <= kLanes);

constexpr int dotRows(int rows) { return rows <= 2 ? rows : kDotRows; }

// Rows are cut into strips, each [headDim][strip's lanes]: whole panels, and a rest that one vector holds in one
// vector.
constexpr int stripLanes(int rows) { return rows > kLanes ? kPanel : kLanes; }

template <class F>
SIMD void forEachStrip(int rows, F&& f) {
  for (int first = 0; first < rows; first += stripLanes(rows - first)) f(first, stripLanes(rows - first));
}

// Floats that layOutRows() needs for up to so many rows: strips and a row to read into, or padded rows.
int64_t sampledFloats(int headDim, int rows) {
  int64_t lanes = 0;
  forEachStrip(rows, [&](int, int width) { lanes += width; });
  return larger<int64_t>(lanes * headDim + paddedDim(headDim), kDotRows * paddedDim(headDim));
}

// Lanes past the last row repeat it, which changes no maximum.
void layOutRows(const SampledRows& t, float* to) {
  const auto read = [&](int row, float* out) {
    const Token token = sampled(t.queries, t.stride, smaller(row, t.rows - 1));
    readRow(elementAt(t.first, t.dtype, token * t.tokenStride), t.dtype, t.dimStride, t.headDim, out);
  };
  const int ld = paddedDim(t.headDim);
  if (t.rows <= kDotRows) {
    for (int row = 0; row < dotRows(t.rows); ++row) {
      read(row, to + row * ld);
      for (int d = t.headDim; d < ld; ++d) to[row * ld + d] = 0;
    }
    return;
  }
  float* const buffer = to;  // the row being read, then the strips
  to += ld;
  forEachStrip(t.rows, [&](int first, int width) {
    for (int lane = 0; lane < width; ++lane) {
      read(first + lane, buffer);
      for (int d = 0; d < t.headDim; ++d) to[d * width + lane] = buffer[d];
    }
    to += int64_t(t.headDim) * width;
  });
}

// best[r] = max(best[r], products of key[r] with a strip's rows), lane by lane.
template <int Rows, int Vecs>
SIMD void raiseByStrip(const float* const* key, const float* strip, int dim, float* best) {
  const float* row[Rows];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) row[r] = key[r];
  Vec acc[Rows][Vecs];
  stripProducts(row, strip, dim, acc);
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    Vec most = load(best + r * kLanes);
#pragma GCC unroll 4
    for (int c = 0; c < Vecs; ++c) most = max(acc[r][c], most);  // a NaN does not raise it
    store(best + r * kLanes, most);
  }
}

// The largest lane of each of n <= kScoredKeys vectors.
SIMD void reduceBest(const float* best, int n, float* to) {
  for (int i = 0; i < n; i += kLanes) {
    Vec lanes[kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) lanes[r] = load(best + (i + r) * kLanes);
    transpose(lanes);
    Vec most = lanes[0];
#pragma GCC unroll 16
    for (int r = 1; r < kLanes; ++r) most = max(lanes[r], most);
    if (i + kLanes <= n) {
      store(to + i, most);
    } else {
      float rest[kLanes];
      store(rest, most);
      for (int r = 0; r < n - i; ++r) to[i + r] = rest[r];
    }
  }
}

SIMD const void* keyAt(const KeyList& t, int i) { return elementAt(t.data, t.dtype, t.rows.at(t.tokens[i])); }

// Keys [from, from + n) as float32 rows, zero up to whole vectors.
void stageKeys(const KeyList& t, int from, int n, float* staging) {
  const int ld = paddedDim(t.headDim);
  for (int i = 0; i < n; ++i) {
    float* row = staging + i * ld;
    readRow(keyAt(t, from + i), t.dtype, t.dimStride, t.headDim, row);
    for (int d = t.headDim; d < ld; ++d) row[d] = 0;
  }
}

void scoreByStrips(const KeyList& t, const float* strips, int rows, float* staging, float* scores) {
  const bool inPlace = t.dtype == DType::float32 && t.dimStride == 1;
  for (int from = 0; from < t.count; from += kScoredKeys) {
    const int n = smaller(kScoredKeys, t.count - from);
    const float* key[kScoredKeys];
    alignas(64) float best[kScoredKeys * kLanes];
    if (!inPlace) stageKeys(t, from, n, staging);
    for (int i = 0; i < n; ++i) {
      key[i] = inPlace ? static_cast<const float*>(keyAt(t, from + i)) : staging + i * paddedDim(t.headDim);
    }
    for (int i = 0; i < kScoredKeys; ++i) store(best + i * kLanes, splat(-INFINITY));
    const float* strip = strips + paddedDim(t.headDim);
    forEachStrip(rows, [&](int, int width) {
      if (width == kPanel) {
        forEachTile(n, [&](auto tile, int first) {
          raiseByStrip<decltype(tile)::kRows, kTileVecs>(key + first, strip, t.headDim, best + first * kLanes);
        });
      } else {
        forEachTile<kNarrowTile>(n, [&](auto tile, int first) {
          raiseByStrip<decltype(tile)::kRows, 1>(key + first, strip, t.headDim, best + first * kLanes);
        });
      }
      strip += int64_t(t.headDim) * width;
    });
    reduceBest(best, n, scores + from);
  }
}

// `rowOf(i)` is key i; the last vector repeats the last key. Keys are requested kPrefetchBytes ahead, in list order.
template <int Rows, class Element, class RowOf>
void dotProducts(int count, const float* query, int ld, int dim, float* scores, RowOf&& rowOf) {
  constexpr int kKeys = kLanes / Rows;
  const int64_t bytes = int64_t(dim) * sizeof(Element);
  const int ahead = int(larger<int64_t>(kKeys, kPrefetchBytes / bytes));
  for (int first = 0; first < count; first += kKeys) {
    const Element* key[kKeys];
#pragma GCC unroll 16
    for (int j = 0; j < kKeys; ++j) {
      key[j] = rowOf(smaller(first + j, count - 1));
      if (first + j + ahead < count) prefetchRow(rowOf(first + j + ahead), bytes);
    }
    Vec acc[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) acc[i] = zero();
#pragma GCC unroll 1
    for (int d = 0; d < dim; d += kLanes) {
      Vec q[Rows];
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) q[r] = load(query + r * ld + d);
#pragma GCC unroll 16
      for (int j = 0; j < kKeys; ++j) {
        const Vec x = loadElements(key[j] + d);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) acc[j * Rows + r] = mulAdd(x, q[r], acc[j * Rows + r]);
      }
    }
    float products[kLanes];
    store(products, max(reduceAddEach(acc), splat(-INFINITY)));
    for (int j = 0; j < smaller(kKeys, count - first); ++j) {
      float best = products[j * Rows];
#pragma GCC unroll 4
      for (int r = 1; r < Rows; ++r) best = larger(best, products[j * Rows + r]);
      scores[first + j] = best;
    }
  }
}

template <int Rows>
void scoreByDots(const KeyList& t, const float* query, float* staging, float* scores) {
  const int ld = paddedDim(t.headDim), dim = (t.headDim + kLanes - 1) / kLanes * kLanes;
  if (t.dimStride == 1 && dim == t.headDim) {
    return withElementType(t.dtype, [&](auto* element) {
      using Element = std::remove_reference_t<decltype(*element)>;
      dotProducts<Rows, Element>(t.count, query, ld, dim, scores,
                                 [&](int i) { return static_cast<const Element*>(keyAt(t, i)); });
    });
  }
  for (int from = 0; from < t.count; from += kScoredKeys) {
    const int n = smaller(kScoredKeys, t.count - from);
    stageKeys(t, from, n, staging);
    dotProducts<Rows, const float>(n, query, ld, dim, scores + from, [&](int i) { return staging + i * ld; });
  }
}

int64_t keyFloats(int headDim) { return int64_t(kScoredKeys) * paddedDim(headDim); }

// A score depends on its key and the rows alone, not on the rest of the list.
void scoreKeys(const KeyList& t, const float* rows, int rowCount, float* staging, float* scores) {
  switch (rowCount <= kDotRows ? dotRows(rowCount) : 0) {
    case 1: return scoreByDots<1>(t, rows, staging, scores);
    case 2: return scoreByDots<2>(t, rows, staging, scores);
    case kDotRows: return scoreByDots<kDotRows>(t, rows, staging, scores);
    default: return scoreByStrips(t, rows, rowCount, staging, scores);
  }
}
