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
  carver.take(s.factors, int64_t(kept) * shape.rows + kLanes);
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

// Products of `Rows` rows from r on with the kLanes keys from `from` on, dims in the lanes. Rows of pages are apart, so
// that no processor foresees the next ones: they are requested, those that `areWanted`.
template <int Rows, class Element>
SIMD void dotRows(const Strip& s, int block, int r, const void* const* keys, int from, bool areWanted) {
  constexpr int kAtOnce = kLanes < 8 ? kLanes / Rows : 8 / Rows;
  const int dim = s.p->headDim;
  const float* const query = s.query + int64_t(r) * s.shape.ld;
  Vec sums[Rows][kLanes];
#pragma GCC unroll 1
  for (int first = 0; first < kLanes; first += kAtOnce) {
    Vec acc[Rows][kAtOnce];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < kAtOnce; ++j) acc[i][j] = zero();
    const Element* key[kAtOnce];
    const char* toCome[kAtOnce];
#pragma GCC unroll 8
    for (int j = 0; j < kAtOnce; ++j) {
      key[j] = static_cast<const Element*>(keys[from + first + j]);
      toCome[j] = static_cast<const char*>(keys[from + kDottedAhead + first + j]);
    }
#pragma GCC unroll 1
    for (int d = 0; d < dim; d += kLanes) {  // rows in place end with their last vector
      if (areWanted && d * sizeof(Element) % 64 == 0) {
#pragma GCC unroll 8
        for (int j = 0; j < kAtOnce; ++j) __builtin_prefetch(toCome[j] + d * sizeof(Element));
      }
      Vec q[Rows];
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) q[i] = load(query + int64_t(i) * s.shape.ld + d);
#pragma GCC unroll 8
      for (int j = 0; j < kAtOnce; ++j) {
        const Vec x = loadElements(key[j] + d);
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i) acc[i][j] = mulAdd(x, q[i], acc[i][j]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < kAtOnce; ++j) sums[i][first + j] = acc[i][j];
  }
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i) store(s.row(block, r + i) + from, reduceAddEach(sums[i]));
}

// The same of all rows and `width` keys, which are followed by kDottedAhead others.
template <class Element>
void dotKeys(const Strip& s, int block, const void* const* keys, int width) {
  for (int from = 0; from < width; from += kLanes) {
    int r = 0;
    for (; r + 4 <= s.rows; r += 4) dotRows<4, Element>(s, block, r, keys, from, r == 0);
    for (; r < s.rows; ++r) dotRows<1, Element>(s, block, r, keys, from, r == 0);
  }
}

// Products of rows with keys, rows in the lanes as in attention, so that keys are read in the order of their memory;
// then transposed: keys are in the lanes from here on.
void multiplyKeys(const Strip& s, int block, const void* const* keys, int width) {
  for (int from = 0; from < width; from += kMultipliedKeys) {
    const int n = smaller(kMultipliedKeys, width - from);
    for (int panel = 0; panel < s.rows; panel += kPanel) {
      const float* const lanes = s.queryLanes + int64_t(panel) * s.shape.ld;
      forEachTile(n, [&](auto tile, int first) {
        constexpr int kRows = decltype(tile)::kRows;
        const float* key[kRows];
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) key[r] = static_cast<const float*>(keys[from + first + r]);
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
  const int width = ceilDiv(n, kPanel) * kPanel;
  const int64_t bytes = int64_t(p.headDim) * sizeOf(p.keyType);
  // Rows that can be read as vectors are multiplied where they are; by panels only those of float32.
  const bool areDotted = s.rows <= kDottedRows;
  const bool isInPlace =
      areDotted ? p.key.dim == 1 && p.headDim % kLanes == 0 : isVectorRow(p.keyType, p.key.dim, p.headDim);
  const void* keys[kBlock + kDottedAhead];
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
    keys[i] = isInPlace ? key : row;
  }
  const Token left = p.keysOf(s.item->batch) - begin;
  for (int i = n; i < width + kDottedAhead; ++i) {
    const bool isToCome = isInPlace && n == width && i < left;
    keys[i] = isToCome ? elementAt(p.key.data, p.keyType, rows.at(begin + i)) : keys[0];
  }
  if (areDotted) {
    withElementType(isInPlace ? p.keyType : DType::float32, [&](auto* element) {
      dotKeys<std::remove_const_t<std::remove_reference_t<decltype(*element)>>>(s, block, keys, width);
    });
  } else {
    multiplyKeys(s, block, keys, width);
  }
  for (int r = 0; r < s.rows; ++r) {
    const int seen = int(smaller<int64_t>(int64_t(s.seenBy(r)) - begin, n));
    if (seen < width) hide(s, s.row(block, r), seen, width);
  }
}
