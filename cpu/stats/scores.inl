// Scores of a strip: some queries of all heads that share keys, against a block of keys. Included inside a target's
// anonymous namespace. Reader: someone who asks in which order numbers are. A row is a query of a head,
// [heads][queries] of the strip; keys are in the vector lanes, so that sums over queries are sums of vectors.

constexpr int kBlock = kStatsKeys / kPanel * kPanel;
static_assert(kMultipliedKeys % kLanes == 0 && kMultipliedKeys % kTileRows == 0);

struct StripShape {
  int heads, queries, rows, ld, blocks;
  bool isStored;  // weights of all blocks have room

  SIMD StripShape(const StatsProblem& p, Token groupQueries) : heads(p.headsPerKey()), ld(paddedDim(p.headDim)) {
    blocks = int(ceilDiv<int64_t>(larger<Token>(p.keys, 1), kBlock));
    const int64_t perRow = int64_t(blocks) * kBlock;
    int room = kStripRows;
    while (room > kFewestStripRows && room * perRow > kStoredWeights) room /= 2;
    queries = int(clamp<int64_t>(room / heads, 1, larger<Token>(groupQueries, 1)));
    rows = heads * queries;
    isStored = !p.givenLse && p.needsSums() && rows * perRow <= kStoredWeights;
  }
};

// The queries that are worked on, and the memory for it.
struct Strip {
  const StatsItem* item;
  const StatsProblem* p;
  StripShape shape;
  Token first;  // query
  int queries, rows;  // of this strip; heads are `queries` rows apart
  float *query, *queryLanes, *keyRows, *products, *weights, *indices;
  float *most, *sums, *factors, *lse;  // factors: [blocks][rows]
  float *column, *diagonal;
  float* topScores;
  Token *topTokens, *topCounts;
  Token topRoom, groupQueries;

  SIMD explicit Strip(const StripShape& s) : shape(s) {}
  // Row r of a block's weights.
  SIMD float* row(int block, int r) const {
    return weights + (int64_t(shape.isStored ? block : 0) * shape.rows + r) * kBlock;
  }
  SIMD float* factorsOf(int block) const { return factors + int64_t(shape.isStored ? block : 0) * shape.rows; }
  SIMD Token queryOf(int r) const { return first + r % queries; }
  SIMD int headOf(int r) const { return item->kvHead * shape.heads + r / queries; }
  SIMD int64_t rowOf(int r) const { return p->rowAt(item->batch, headOf(r), queryOf(r)); }
  SIMD Token seenBy(int r) const { return p->seenBy(item->batch, queryOf(r)); }
  SIMD int64_t diagonalFloats() const { return int64_t(p->keys) + groupQueries + 2 * kBlock; }
};

int64_t layOut(const StatsProblem& p, Token groupQueries, float* base, Strip& s) {
  const StripShape& shape = s.shape;
  s.p = &p;
  s.groupQueries = groupQueries;
  const int kept = shape.isStored ? shape.blocks : 1;
  Carver carver(base);
  carver.take(s.query, int64_t(shape.rows) * shape.ld);
  carver.take(s.keyRows, int64_t(kBlock) * shape.ld);
  carver.take(s.queryLanes, int64_t(ceilDiv(shape.rows, kPanel)) * kPanel * shape.ld);
  carver.take(s.products, kMultipliedKeys * kPanel);
  carver.take(s.weights, int64_t(kept) * shape.rows * kBlock);
  carver.take(s.indices, kBlock);
  carver.take(s.most, shape.rows);
  carver.take(s.sums, int64_t(shape.rows + kLanes) * kLanes);
  carver.take(s.factors, int64_t(kept) * shape.rows);
  carver.take(s.lse, shape.rows + kLanes);
  carver.take(s.column, kBlock);
  carver.take(s.diagonal, p.diagSum ? shape.heads * s.diagonalFloats() : 0);
  s.topRoom = p.topIndices ? smaller(p.topK, p.keys) : 0;
  carver.take(s.topScores, int64_t(shape.rows) * s.topRoom);
  carver.take(s.topTokens, int64_t(shape.rows) * s.topRoom);
  carver.take(s.topCounts, shape.rows);
  return carver.floats();
}

SIMD void fill(float* to, int64_t count, float value) {
  for (int64_t i = 0; i < count; ++i) to[i] = value;
}

// Queries of the strip, scaled, zero behind their dim; and in the lanes of panels, the last of which repeats a row.
void readQueries(const Strip& s) {
  const StatsProblem& p = *s.p;
  for (int r = 0; r < s.rows; ++r) {
    float* row = s.query + int64_t(r) * s.shape.ld;
    fill(row, s.shape.ld, 0);
    readRow(elementAt(p.query.data, p.dtype, p.query.offset(s.item->batch, s.queryOf(r), s.headOf(r))), p.dtype,
            p.query.dim, p.headDim, row);
    for (int d = 0; d < p.headDim; ++d) row[d] *= p.scale;
  }
  for (int panel = 0; s.rows > kDottedRows && panel < s.rows; panel += kPanel) {
    const float* rows[kPanel];
    for (int i = 0; i < kPanel; ++i) rows[i] = s.query + int64_t(smaller(panel + i, s.rows - 1)) * s.shape.ld;
    rowsToLanes(rows, p.headDim, 1.0f, s.queryLanes + int64_t(panel) * s.shape.ld);
  }
}

// Products of rows with keys, dims in the lanes: n <= kBlock keys, and whole vectors of them are written. Rows of pages
// are apart, so that no processor foresees the next ones: they are requested.
void dotKeys(const Strip& s, int block, const float* const* keys, int n) {
  constexpr int kAtOnce = kLanes < 8 ? kLanes : 8;
  for (int from = 0; from < n; from += kLanes) {
    for (int r = 0; r < s.rows; ++r) {
      const float* query = s.query + int64_t(r) * s.shape.ld;
      Vec sums[kLanes];
#pragma GCC unroll 2
      for (int half = 0; half < kLanes; half += kAtOnce) {
        const float* const* key = keys + from + half;
        Vec acc[kAtOnce];
#pragma GCC unroll 8
        for (int i = 0; i < kAtOnce; ++i) acc[i] = zero();
#pragma GCC unroll 1
        for (int d = 0; d < s.p->headDim; d += kLanes) {  // rows in place end with their last vector
          const Vec q = load(query + d);
#pragma GCC unroll 8
          for (int i = 0; i < kAtOnce; ++i) acc[i] = mulAdd(load(key[i] + d), q, acc[i]);
          if (r > 0 || from + kLanes >= n) continue;
#pragma GCC unroll 8
          for (int i = 0; i < kAtOnce; ++i) __builtin_prefetch(key[i + kLanes] + d);
        }
#pragma GCC unroll 8
        for (int i = 0; i < kAtOnce; ++i) sums[half + i] = acc[i];
      }
      store(s.row(block, r) + from, reduceAddEach(sums));
    }
  }
}

// Products of rows with keys, rows in the lanes as in attention, so that keys are read in the order of their memory;
// then transposed: keys are in the lanes from here on.
void multiplyKeys(const Strip& s, int block, const float* const* keys, int width) {
  for (int from = 0; from < width; from += kMultipliedKeys) {
    const int n = smaller(kMultipliedKeys, width - from);
    for (int panel = 0; panel < s.rows; panel += kPanel) {
      const float* const lanes = s.queryLanes + int64_t(panel) * s.shape.ld;
      forEachTile(n, [&](auto tile, int first) {
        constexpr int kRows = decltype(tile)::kRows;
        const float* key[kRows];
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) key[r] = keys[from + first + r];
        stripProducts(key, lanes, s.p->headDim, tile.acc);
        tile.writeTo(s.products + first * kPanel);
      });
      for (int lane = 0; lane < kPanel && panel + lane < s.rows; lane += kLanes) {
        const int rows = smaller(kLanes, s.rows - panel - lane);
        for (int i = 0; i < n; i += kLanes) {
          Vec square[kLanes];
#pragma GCC unroll 16
          for (int j = 0; j < kLanes; ++j) square[j] = load(s.products + (i + j) * kPanel + lane);
          transpose(square);
          float* const to = s.row(block, panel + lane) + from + i;
#pragma GCC unroll 16
          for (int j = 0; j < kLanes; ++j) {
            if (j < rows) store(to + int64_t(j) * kBlock, square[j]);
          }
        }
      }
    }
  }
}

// What a row does not see of a block of `width` lanes becomes -inf.
SIMD void hide(const Strip& s, float* row, int seen, int width) {
  const Vec end = splat(float(larger(seen, 0)));
  for (int i = larger(seen, 0) / kLanes * kLanes; i < width; i += kLanes) {
    store(row + i, whereLess(load(s.indices + i), end, load(row + i), splat(-INFINITY)));
  }
}

// Scores of the strip and n keys from token `begin` on; -inf where a row sees no key, up to whole panels.
void scoreBlock(const Strip& s, int block, Token begin, int n) {
  const StatsProblem& p = *s.p;
  const StoredRows rows = p.keyRowsOf(s.item->batch, s.item->kvHead);
  const bool isInPlace = isVectorRow(p.keyType, p.key.dim, p.headDim);
  const int width = ceilDiv(n, kPanel) * kPanel;
  const int64_t bytes = int64_t(p.headDim) * sizeOf(p.keyType);
  const float* keys[kBlock];
  for (int i = 0; i < n; ++i) {
    const void* key = elementAt(p.key.data, p.keyType, rows.at(begin + i));
    float* row = s.keyRows + int64_t(i) * s.shape.ld;
    if (!isInPlace) {
      if (i + kStagedAhead < n) {
        prefetchRow<2>(elementAt(p.key.data, p.keyType, rows.at(begin + i + kStagedAhead)), bytes);
      }
      for (int d = s.shape.ld - 16; d < s.shape.ld; ++d) row[d] = 0;
      readRow(key, p.keyType, p.key.dim, p.headDim, row);
    }
    keys[i] = isInPlace ? static_cast<const float*>(key) : row;
  }
  for (int i = n; i < width; ++i) keys[i] = keys[0];
  if (s.rows <= kDottedRows) {
    dotKeys(s, block, keys, width);
  } else {
    multiplyKeys(s, block, keys, width);
  }
  for (int r = 0; r < s.rows; ++r) {
    const int seen = int(smaller<int64_t>(int64_t(s.seenBy(r)) - begin, n));
    if (seen < width) hide(s, s.row(block, r), seen, width);
  }
}
