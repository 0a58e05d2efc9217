// A block of keys: a batch that all panels of a tile work on while it is in the cache, brought into the shape the
// products want. Included inside a target's anonymous namespace. Reader: the fused loop.

// A part of a key run, staged in a block. The keys of a block are numbered from 0 across its spans.
struct Span {
  KeyRun run;
  int first;  // number of its first key
  const float* k;
  const float* v;
};
// Requests the rows of the next block a cache line at a time, between register tiles of the current one. Heads that are
// side by side (bnhd) give rows of a few lines each, and lists of keys rows anywhere, which the processor does not
// foresee: staging them took 8 % of the time. Requested in bursts, once per panel, they stalled the loop just as long.
struct RowPrefetch {
  const Span* span = nullptr;
  const Span* end = nullptr;
  const char* base = nullptr;  // of token 0
  int64_t stride = 0, bytes = 0;  // from token to token, and of a row
  Token place = 0;
  const char* row = nullptr;
  int64_t at = 0;

  SIMD void start() {
    if (span == end) return;
    place = span->run.places.begin;
    row = base + span->run.token(place) * stride;
  }
  SIMD void step() {
    if (span == end) return;
    __builtin_prefetch(row + at, 0, 2);
    at += 64;
    if (at >= bytes) nextRow();
  }
  // Out of line: inlined it costs the loop a third of its speed, in registers.
  __attribute__((noinline)) void nextRow() {
    at = 0;
    if (++place < span->run.places.end) {
      row += span->run.step * stride;
    } else {
      ++span;
      start();
    }
  }
};

// The same for few panels (kSpreadUpTo), which have many lines to request between few register tiles: between the steps
// of each tile. With 1 and 2 panels of float32 on pages (D = 128, 2k and 8k keys, AVX-512) that takes 0.66 to 0.71 of
// the time without requests, RowPrefetch 0.9 of it; float16, which staging reads in order, is neither faster nor
// slower. Dense rows that stay in place take 0.8 to 0.9 of the time with RowPrefetch (8 and 16 queries of 32 / 8 heads,
// 16k keys, either layout).
class SpreadRequests {
 public:
  // Lists n rows of so many bytes in memory that begins at `rows`: keys first, then values.
  void add(const char** rows, const char* row, int64_t stride, int n, int64_t bytes, bool areKeys) {
    rows_ = rows;
    (areKeys ? keyBytes_ : valueBytes_) = bytes;
    for (int i = 0; i < n; ++i) rows_[count_++] = row + i * stride;
    if (areKeys) keys_ = count_;
    lines_ += int64_t(n) * ceilDiv<int64_t>(bytes, kLine);
  }
  // So many register tiles, each of at most so many steps, are computed meanwhile.
  void spreadOver(int64_t tiles, int steps) { atOnce_ = int(ceilDiv(lines_, tiles * ceilDiv(steps, kSteps))); }
  bool areAny() const { return count_ > 0; }

  // Calls products(first, n) for parts of a register tile's n steps, and requests lines before each.
  template <class Products>
  SIMD void operator()(int n, Products&& products) {
#pragma GCC unroll 1
    for (int i = 0; i < n; i += kSteps) {
      request();
      products(i, smaller(kSteps, n - i));
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  static constexpr int kSteps = 16;

  SIMD void request() {
    int row = row_;
    int64_t at = at_;
    for (int i = atOnce_; i > 0 && row < count_; --i) {
      __builtin_prefetch(rows_[row] + at, 0, 2);
      at += kLine;
      if (at < (row < keys_ ? keyBytes_ : valueBytes_)) continue;
      at = 0;
      ++row;
    }
    row_ = row;
    at_ = at;
  }

  const char** rows_ = nullptr;
  int keys_ = 0, count_ = 0, row_ = 0, atOnce_ = 0;
  int64_t keyBytes_ = 0, valueBytes_ = 0, at_ = 0, lines_ = 0;
};
// No requests: the steps of a register tile in one go.
struct Unbroken {
  template <class Products>
  SIMD void operator()(int n, Products&& products) const {
    products(0, n);
  }
};
constexpr Unbroken kUnbroken{};

struct KeyBlock {
  Span* spans;
  int spanCount = 0;
  int rows = 0;
  bool isExtra = false;  // extra keys (options.extraKeys)
  int64_t kStride, vStride;  // floats from key to key
  RowPrefetch nextKeys, nextValues;
  int prefetchSteps = 0;  // per register tile of scores
  SpreadRequests spread;  // or these
  bool isPacked = false;  // values are in packedV, too
  bool isChecked = false;  // whether the next one says anything yet
  bool hasNonFinite = false;

  void add(const KeyRun& run) {
    spans[spanCount++] = {run, rows, nullptr, nullptr};
    rows += run.places.size();
  }
};

// Where a block's copies go, each [keys][paddedDim] but the strips.
struct KeyBuffers {
  float *kRows, *vRows;
  float* packedV;  // strips of a register tile's dims: [tile][keys][its dims]
  float* cleanV;  // NaN and infinity set to 0
  const char** nextRows;  // of SpreadRequests
};

// Copies a block's values into strips, one per register tile of dims. Read in place a strip is a column: one cache line
// per key, and with rows of 256 or 512 bytes too few cache sets for 192 of them (5-10 points of the second product).
void packValues(const KeyBlock& block, int keysPerBlock, int dim, float* packed) {
  for (int i = 0; i < block.spanCount; ++i) {
    const Span& span = block.spans[i];
    for (Token key = 0; key < span.run.places.size(); ++key) {
      const float* from = span.v + key * block.vStride;
      forEachTile(dim, [&](auto tile, int first) {
        constexpr int kRows = decltype(tile)::kRows;
        float* to = packed + int64_t(first) * keysPerBlock + (span.first + key) * kRows;
        __builtin_memcpy(to, from + first, kRows * sizeof(float));
      });
    }
  }
}

// Whether the block's values hold NaN or infinity; if so `cleanV` gets a copy with those set to 0.
void checkValues(KeyBlock& block, int dim, float* cleanV) {
  block.isChecked = true;
  const Vec largest = splat(FLT_MAX);
  for (int i = 0; i < block.spanCount && !block.hasNonFinite; ++i) {
    const Span& span = block.spans[i];
    for (Token key = 0; key < span.run.places.size(); ++key) {
      const float* v = span.v + key * block.vStride;
      Vec bad = zero();
      int d = 0;
      for (; d + kLanes <= dim; d += kLanes) bad = add(bad, zeroIfFinite(Lanes(v + d)).v);
      for (; d < dim; ++d) bad = add(bad, splat(zeroIfFinite(v[d])));
      block.hasNonFinite |= reduceMax(whereEqual(bad, bad, zero(), largest)) > 0;
    }
  }
  if (!block.hasNonFinite) return;
  for (int i = 0; i < block.spanCount; ++i) {
    const Span& span = block.spans[i];
    for (Token key = 0; key < span.run.places.size(); ++key) {
      const float* v = span.v + key * block.vStride;
      float* clean = cleanV + (span.first + key) * int64_t(paddedDim(dim));
      for (int d = 0; d < dim; ++d) clean[d] = isFinite(v[d]) ? v[d] : 0;
    }
  }
}

// Brings a block's keys and values into contiguous float32, or points at them where they are: for the tile's head
// number `head`. The rows of the next block, which may have none, are requested meanwhile, for head number `nextHead`.
template <class Pattern>
void stageBlock(const TileTask& task, int32_t head, const KeyBuffers& s, KeyBlock& block, const KeyBlock& next,
                int32_t nextHead) {
  const AttentionProblem& p = *task.problem;
  const Operand &keys = block.isExtra ? p.extraKeys : p.key, &values = block.isExtra ? p.extraValues : p.value;
  const auto kvHeadOf = [&](int32_t number) { return p.kvHeadOf(task.map.next(number).firstHead); };
  const int32_t kvHead = kvHeadOf(head);
  const Sequence& sequence = task.sequence;
  const auto storedRowsOf = [&](const Operand& operand, int32_t kv) {
    return p.store.rowsOf(operand, sequence.keyBatch, sequence.keys.begin, kv);
  };
  const auto rowsOf = [&](const Operand& operand) {
    return block.isExtra ? DenseKeys::rowsOf(operand, sequence.batch, 0, kvHead) : storedRowsOf(operand, kvHead);
  };
  const StoredRows keyRows = rowsOf(keys), valueRows = rowsOf(values);
  block.isPacked = !task.readsInPlace && task.rows > kPackFromPanels * kPanel;
  block.isChecked = block.hasNonFinite = false;
  block.prefetchSteps = 0;
  block.spread = {};
  // Keys stay in place where rows follow each other: rows strided by a power of two share cache sets and pages. Where
  // panels see small parts of a block, or few panels see it, copying it costs more than that. Values that are packed
  // are read once, so any stride will do; else a strip of them is a column.
  const bool isFloat = p.keyType == DType::float32, isCoded = p.store.codes && !block.isExtra;
  const int64_t step = block.spans[0].run.step;
  const bool isLong = (Pattern::kIsDense && p.store.isDense()) || block.rows >= kGatherBelow * block.spanCount;
  const auto staysInPlace = [&](const Operand& operand, int dim, bool mayBeStrided) {
    const bool isRow = isFloat && !isCoded && operand.dim == 1;
    return isRow && (mayBeStrided || task.readsInPlace || (isLong && operand.token * step == dim));
  };
  const bool areFew = Pattern::kIsDense && p.store.isDense() && task.rows <= kFewPanels * kPanel;
  const bool kInPlace = staysInPlace(keys, p.headDim, areFew);
  const bool vInPlace = staysInPlace(values, p.valueDim, block.isPacked);
  block.kStride = kInPlace ? keys.token * step : paddedDim(p.headDim);
  block.vStride = vInPlace ? values.token * step : paddedDim(p.valueDim);
  for (int i = 0; i < block.spanCount; ++i) {
    Span& span = block.spans[i];
    const Token first = span.run.token(span.run.places.begin);
    const auto stage = [&](const Operand& operand, const StoredRows& from, bool inPlace, int dim,
                           float* rows) -> const float* {
      const int64_t at = from.at(first), stride = operand.token * step;
      if (inPlace) return static_cast<const float*>(operand.data) + at;
      float* to = rows + span.first * int64_t(paddedDim(dim));
      if (isCoded) {
        readStoredRows(p, &operand == &keys, sequence.keyBatch, kvHead, span.run, to);
        return to;
      }
      readRows(elementAt(operand.data, p.keyType, at), p.keyType, stride, operand.dim, span.run.places.size(), dim, to,
               paddedDim(dim));
      return to;
    };
    span.k = stage(keys, keyRows, kInPlace, p.headDim, s.kRows);
    span.v = stage(values, valueRows, vInPlace, p.valueDim, s.vRows);
  }
  if (block.isPacked) packValues(block, task.shape.keys, p.valueDim, s.packedV);
  if (Pattern::kRank > 1 || next.spanCount == 0 || next.isExtra || p.store.codes) return;

  const auto nextRowsOf = [&](const Operand& operand) { return storedRowsOf(operand, kvHeadOf(nextHead)); };
  if (!p.store.isDense() || (areFew && kSpreadUpTo > 0)) {
    const int panels = ceilDiv(task.rows, kPanel);
    if (panels > kSpreadUpTo) return;
    const auto list = [&](const Operand& operand, int dim, bool areKeys) {
      const int64_t size = sizeOf(p.keyType);
      const StoredRows from = nextRowsOf(operand);
      for (int i = 0; i < next.spanCount; ++i) {
        const KeyRun& run = next.spans[i].run;
        const int64_t at = from.at(run.token(run.places.begin));
        const char* const row = static_cast<const char*>(elementAt(operand.data, p.keyType, at));
        block.spread.add(s.nextRows, row, operand.token * run.step * size, run.places.size(), dim * size, areKeys);
      }
    };
    list(keys, p.headDim, true);
    list(values, p.valueDim, false);
    const int tiles = ceilDiv(block.rows, kTileRows) + ceilDiv(p.valueDim, kTileRows);
    block.spread.spreadOver(int64_t(panels) * tiles, larger<int>(p.headDim, block.rows));
    return;
  }

  const auto request = [&](const Operand& operand, int dim) {
    RowPrefetch prefetch;
    prefetch.span = next.spans;
    prefetch.end = next.spans + next.spanCount;
    prefetch.base = static_cast<const char*>(elementAt(operand.data, p.keyType, nextRowsOf(operand).first));
    prefetch.stride = operand.token * sizeOf(p.keyType);
    prefetch.bytes = dim * sizeOf(p.keyType);
    prefetch.start();
    return prefetch;
  };
  block.nextKeys = request(p.key, p.headDim);
  block.nextValues = request(p.value, p.valueDim);
  const int64_t lines = next.rows * ceilDiv<int64_t>(larger(p.headDim, p.valueDim) * sizeOf(p.keyType), 64);
  const int64_t tiles = ceilDiv<int64_t>(block.rows, kTileRows) * ceilDiv<int64_t>(task.rows, kPanel);
  block.prefetchSteps = int(ceilDiv(lines, tiles));
}
