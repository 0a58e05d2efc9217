// The fused loop: one tile of queries against its visits, scores never leaving the cache.
// Included inside a target's anonymous namespace. Reader: start at runTile() at the end; everything above is its steps.
// Idea: FlashAttention (arXiv 2205.14135) with queries in the vector lanes.

// Tiles with more panels than this pack their values: the copy is shared by all of them. Not measured.
constexpr int kPackFromPanels = 2;

// Requests the rows of the next block a cache line at a time, between register tiles of the current one. Heads that lie
// side by side (bnhd) give rows of a few lines each, which the processor does not foresee: staging them took 8 % of the
// time. Requested in bursts, once per panel, they stalled the loop just as long.
struct RowPrefetch {
  const char* row = nullptr;
  int64_t stride = 0, bytes = 0, rows = 0, at = 0;

  SIMD void step() {
    if (rows == 0) return;
    __builtin_prefetch(row + at, 0, 2);
    at += 64;
    if (at < bytes) return;
    at = 0;
    row += stride;
    --rows;
  }
};

// A batch of keys that all panels of a tile work on while it is in the cache. Its rows are numbered from 0 across
// spans.
struct Span {
  Range keys;
  int row;  // of keys.begin
  const float* k;
  const float* v;
};
struct KeyBlock {
  Span* spans;
  int spanCount = 0;
  int rows = 0;
  int64_t kStride, vStride;  // floats from key to key
  RowPrefetch nextKeys, nextValues;
  int prefetchSteps = 0;  // per register tile of scores
  bool isPacked = false;  // values also lie in TileScratch::packedV
  bool isChecked = false;  // whether the next two say anything yet
  bool hasNonFinite = false;
};

// One panel: kPanel queries, one per lane.
struct Panel {
  QueryRows<kPanel> rows;
  Box<1> tokens;
  float* query;  // [headDim][kPanel], scaled
  float* output;  // [valueDim][kPanel], not yet divided by sum
  alignas(64) float max[kPanel], sum[kPanel];
};

// A run of keys of the current block, as one panel sees it.
struct Segment {
  Run run;
  int row;  // row of the block
  int scoreRow;  // row of the panel's scores
  const float* k;
  const float* v;
  bool isMasked;  // has a table: not interior, or biased
};

// Segments that lie next to each other: to the second product it makes no difference how they were masked.
struct Piece {
  int row, count;
  const float* v;
};

struct TileScratch {
  float *queries, *outputs;  // per panel [dim][kPanel]
  float *kRows, *vRows;  // [keys][paddedDim]
  float* packedV;  // strips of a register tile's dims: [tile][keys][its dims]
  float* cleanV;  // [keys][paddedDim], NaN and infinity set to 0
  float *scores, *table;  // [keys][kPanel]
  float* rowBuffer;  // [kPanel][paddedDim]
  Panel* panels;
  Span* spans;
  Segment* segments;
  Piece* pieces;
};

// Lays out a tile's scratch from `base`; with base == nullptr only counts floats.
int64_t layOutTile(const Problem& p, TileShape shape, float* base, TileScratch& s) {
  int64_t at = 0;
  const auto take = [&](auto*& pointer, int64_t floats) {
    pointer = base ? reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(base + at) : nullptr;
    at += (floats + 15) & ~15;  // 64-byte lines
  };
  const int64_t panels = ceilDiv<int64_t>(shape.queries, kPanel), keys = shape.keys;
  const int64_t d = paddedDim(p.headDim), dv = paddedDim(p.valueDim);
  take(s.queries, panels * d * kPanel);
  take(s.outputs, panels * dv * kPanel);
  take(s.kRows, keys * d);
  take(s.vRows, keys * dv);
  take(s.packedV, keys * dv);
  take(s.cleanV, keys * dv);
  take(s.scores, keys * kPanel);
  take(s.table, keys * kPanel);
  take(s.rowBuffer, kPanel * larger(d, dv));
  take(s.panels, panels * sizeof(Panel) / sizeof(float));
  take(s.spans, keys * sizeof(Span) / sizeof(float));
  take(s.segments, keys * sizeof(Segment) / sizeof(float));
  take(s.pieces, keys * sizeof(Piece) / sizeof(float));
  return at;
}

// S^T = K Q^T for `n` keys of the block. Raises `most` lane by lane.
void scores(KeyBlock& block, const float* k, int n, const Panel& panel, int dim, float* s, Vec (&most)[kTileVecs]) {
  const int64_t kStride = block.kStride;
  forEachTile(n, [&](auto tile, int first) {
    for (int i = 0; i < block.prefetchSteps; ++i) {
      block.nextKeys.step();
      block.nextValues.step();
    }
    tile.setZero();
    addProducts(tile, k + first * kStride, 1, kStride, panel.query, dim);
    tile.raiseTo(most);
    tile.writeTo(s + first * kPanel);
  });
}

// P = exp2(S - max) in place; max and sum move on, `rescale` is what earlier outputs shrink by.
void softmaxStep(Panel& panel, float* s, int n, const Vec (&most)[kTileVecs], Vec (&rescale)[kTileVecs]) {
#pragma GCC unroll 4
  for (int c = 0; c < kTileVecs; ++c) {
    const Vec before = load(panel.max + c * kLanes), now = max(most[c], before);
    const Vec base = max(splat(-FLT_MAX), now);  // subtrahend(): finite even when nothing is visible yet
    rescale[c] = exp2(sub(before, base));
    Vec sum[4] = {zero(), zero(), zero(), zero()};
    float* p = s + c * kLanes;
    int i = 0;
    for (; i + 4 <= n; i += 4, p += 4 * kPanel) {
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        const Vec e = exp2(sub(load(p + u * kPanel), base));
        store(p + u * kPanel, e);
        sum[u] = add(sum[u], e);
      }
    }
    for (; i < n; ++i, p += kPanel) {
      const Vec e = exp2(sub(load(p), base));
      store(p, e);
      sum[0] = add(sum[0], e);
    }
    const Vec total = add(add(sum[0], sum[1]), add(sum[2], sum[3]));
    store(panel.max + c * kLanes, now);
    store(panel.sum + c * kLanes, mulAdd(load(panel.sum + c * kLanes), rescale[c], total));
  }
}

// O^T = O^T * rescale + V^T P^T over the pieces of a block. valuesOf(piece, tile, first dim) says where they lie.
template <class ValuesOf>
void addValues(const Panel& panel, const Piece* pieces, int count, const float* p, int dim,
               const Vec (&rescale)[kTileVecs], ValuesOf&& valuesOf) {
  forEachTile(dim, [&](auto tile, int first) {
    float* out = panel.output + first * kPanel;
    tile.readScaled(out, rescale);
    const float* weights = p;
    for (int i = 0; i < count; ++i) {
      const auto [v, stride] = valuesOf(pieces[i], tile.kRows, first);
      addProducts(tile, v, stride, 1, weights, pieces[i].count);
      weights += pieces[i].count * kPanel;
    }
    tile.writeTo(out);
  });
}
struct ValueRows {
  const float* v;
  int64_t stride;
};

// Copies a block's values into strips, one per register tile of dims. Read in place a strip is a column: one cache line
// per key, and with rows of 256 or 512 bytes too few cache sets for 192 of them (5-10 points of the second product).
void packValues(const KeyBlock& block, int keysPerBlock, int dim, float* packed) {
  for (int i = 0; i < block.spanCount; ++i) {
    const Span& span = block.spans[i];
    for (Token key = 0; key < span.keys.size(); ++key) {
      const float* from = span.v + key * block.vStride;
      forEachTile(dim, [&](auto tile, int first) {
        constexpr int kRows = decltype(tile)::kRows;
        float* to = packed + int64_t(first) * keysPerBlock + (span.row + key) * kRows;
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
    for (Token key = 0; key < span.keys.size(); ++key) {
      const float* v = span.v + key * block.vStride;
      Vec bad = zero();
      int d = 0;
      // !(|v| <= FLT_MAX) in vectors: |v| - |v| is 0 for finite numbers and NaN for the others.
      for (; d + kLanes <= dim; d += kLanes) bad = add(bad, sub(load(v + d), load(v + d)));
      for (; d < dim; ++d) bad = add(bad, splat(v[d] - v[d]));
      block.hasNonFinite |= reduceMax(whereEqual(bad, bad, zero(), largest)) > 0;
    }
  }
  if (!block.hasNonFinite) return;
  for (int i = 0; i < block.spanCount; ++i) {
    const Span& span = block.spans[i];
    for (Token key = 0; key < span.keys.size(); ++key) {
      const float* v = span.v + key * block.vStride;
      float* clean = cleanV + (span.row + key) * int64_t(paddedDim(dim));
      for (int d = 0; d < dim; ++d) clean[d] = v[d] - v[d] == 0 ? v[d] : 0;
    }
  }
}

// Adds what cleaned values left out, to the lanes that do see the key. Rare: only blocks with NaN or infinite values.
void addNonFiniteValues(const Panel& panel, const Segment& segment, int64_t vStride, const float* p, const float* table,
                        int dim) {
  for (Token key = 0; key < segment.run.keys.size(); ++key) {
    const float* v = segment.v + key * vStride;
    const int row = (segment.scoreRow + key) * kPanel;
    for (int d = 0; d < dim; ++d) {
      if (v[d] - v[d] == 0) continue;
      for (int lane = 0; lane < kPanel; ++lane) {
        if (segment.isMasked && table[row + lane] == kHidden) continue;
        panel.output[d * kPanel + lane] += p[row + lane] * v[d];
      }
    }
  }
}

// Brings a block's keys and values into contiguous float32, or points at them where they already are that.
void stageBlock(const TileTask& task, const TileScratch& s, KeyBlock& block) {
  const Problem& p = *task.problem;
  const int32_t kvHead = p.kvHeadOf(task.map.firstHead);
  const int64_t kRow = p.key.offset(task.sequence.batch, 0, kvHead),
                vRow = p.value.offset(task.sequence.batch, 0, kvHead);
  block.isPacked = task.rows > kPackFromPanels * kPanel;
  // Keys stay in place only where rows follow each other: rows strided by a power of two share cache sets and pages.
  // Values that are packed are read once, so any stride will do.
  const bool isFloat = p.dtype == DType::float32;
  const bool kInPlace = isFloat && p.key.dim == 1 && p.key.token == p.headDim;
  const bool vInPlace = isFloat && p.value.dim == 1 && (block.isPacked || p.value.token == p.valueDim);
  block.kStride = kInPlace ? p.key.token : paddedDim(p.headDim);
  block.vStride = vInPlace ? p.value.token : paddedDim(p.valueDim);
  for (int i = 0; i < block.spanCount; ++i) {
    Span& span = block.spans[i];
    const int64_t first = task.sequence.keys.begin + span.keys.begin;
    const auto stage = [&](const Operand& operand, int64_t base, bool inPlace, int dim, float* rows) -> const float* {
      const int64_t at = base + first * operand.token;
      if (inPlace) return static_cast<const float*>(operand.data) + at;
      float* to = rows + span.row * int64_t(paddedDim(dim));
      for (Token key = 0; key < span.keys.size(); ++key) {
        readRow(elementAt(operand.data, p.dtype, at + key * operand.token), p.dtype, operand.dim, dim,
                to + key * int64_t(paddedDim(dim)));
      }
      return to;
    };
    span.k = stage(p.key, kRow, kInPlace, p.headDim, s.kRows);
    span.v = stage(p.value, vRow, vInPlace, p.valueDim, s.vRows);
  }
  if (block.isPacked) packValues(block, task.shape.keys, p.valueDim, s.packedV);

  const Token end = block.spans[block.spanCount - 1].keys.end;
  const int64_t coming = smaller<Token>(task.shape.keys, task.sequence.keys.size() - end);
  const auto request = [&](const Operand& operand, int64_t base, int dim) -> RowPrefetch {
    const void* row = elementAt(operand.data, p.dtype, base + (task.sequence.keys.begin + end) * operand.token);
    return {static_cast<const char*>(row), operand.token * sizeOf(p.dtype), dim * sizeOf(p.dtype), coming, 0};
  };
  block.nextKeys = request(p.key, kRow, p.headDim);
  block.nextValues = request(p.value, vRow, p.valueDim);
  const int64_t lines = coming * ceilDiv<int64_t>(larger(p.headDim, p.valueDim) * sizeOf(p.dtype), 64);
  const int64_t tiles = ceilDiv<int64_t>(block.rows, kTileRows) * ceilDiv<int64_t>(task.rows, kPanel);
  block.prefetchSteps = int(ceilDiv(lines, tiles));
}

void setUpPanel(const TileTask& task, const TileScratch& s, int index, const ScoreScale& scale, Panel& panel) {
  const Problem& p = *task.problem;
  const int first = index * kPanel, n = smaller(kPanel, task.rows - first);
  panel.rows.set(p, task.sequence, task.map, task.firstRow + first, n);
  panel.tokens = {{{panel.rows.token[0], panel.rows.token[n - 1] + 1}}};
  panel.query = s.queries + int64_t(index) * paddedDim(p.headDim) * kPanel;
  panel.output = s.outputs + int64_t(index) * paddedDim(p.valueDim) * kPanel;
  const bool inPlace = isVectorRow(p.dtype, p.query.dim, p.headDim);
  const int ld = paddedDim(p.headDim);
  const float* rows[kPanel];
  for (int i = 0; i < kPanel; ++i) {
    // Lanes past the last query repeat it; their results are dropped.
    float* buffer = s.rowBuffer + i * ld;
    const int64_t at = p.query.offset(task.sequence.batch, task.sequence.queries.begin + panel.rows.token[i],
                                      p.queryHeadOf(panel.rows.head[i]));
    const void* from = elementAt(p.query.data, p.dtype, at);
    rows[i] = inPlace ? static_cast<const float*>(from) : buffer;
    if (inPlace) continue;
    readRow(from, p.dtype, p.query.dim, p.headDim, buffer);
    for (int d = p.headDim; d < ld; ++d) buffer[d] = 0;
  }
  rowsToLanes(rows, p.headDim, scale.query, panel.query);
  __builtin_memset(panel.output, 0, sizeof(float) * kPanel * paddedDim(p.valueDim));
  for (int lane = 0; lane < kPanel; ++lane) {
    panel.max[lane] = -INFINITY;
    panel.sum[lane] = 0;
  }
}

template <class Pattern>
void visitBlock(const TileTask& task, const TileScratch& s, const Pattern& pattern, const ScoreScale& scale,
                KeyBlock& block, Panel& panel) {
  const Problem& p = *task.problem;
  const bool isBiased = p.hasScoreOperands();
  int count = 0, pieces = 0, rows = 0;
  bool isMasked = false;
  for (int i = 0; i < block.spanCount; ++i) {
    const Span& span = block.spans[i];
    int end = -1;  // row past the last piece of this span
    forEachRun(pattern, task.map.firstHead, panel.tokens, span.keys, [&](const Run& run) {
      const Token skip = run.keys.begin - span.keys.begin, n = run.keys.size();
      const int row = span.row + skip;
      const float* v = span.v + skip * block.vStride;
      s.segments[count++] = {run, row, rows, span.k + skip * block.kStride, v, isBiased || !run.isInterior};
      isMasked |= isBiased || !run.isInterior;
      if (row == end) {
        s.pieces[pieces - 1].count += n;
      } else {
        s.pieces[pieces++] = {row, n, v};
      }
      end = row + n;
      rows += n;
    });
  }
  if (count == 0) return;

  Vec most[kTileVecs];
  for (Vec& m : most) m = splat(-INFINITY);
  for (int i = 0; i < count; ++i) {
    const Segment& segment = s.segments[i];
    const int n = segment.run.keys.size();
    float* segmentScores = s.scores + segment.scoreRow * kPanel;
    if (!segment.isMasked && scale.softcap == 0) {
      scores(block, segment.k, n, panel, p.headDim, segmentScores, most);
      continue;
    }
    Vec raw[kTileVecs];
    for (Vec& m : raw) m = zero();
    scores(block, segment.k, n, panel, p.headDim, segmentScores, raw);
    float* table = s.table + segment.scoreRow * kPanel;
    if (segment.isMasked) fillTable(p, pattern, panel.rows, segment.run, table);
    modifyScores(segmentScores, segment.isMasked ? table : nullptr, n * kTileVecs, scale.softcap, most);
  }

  Vec rescale[kTileVecs];
  softmaxStep(panel, s.scores, rows, most, rescale);

  const auto add = [&](auto&& valuesOf) {
    addValues(panel, s.pieces, pieces, s.scores, p.valueDim, rescale, valuesOf);
  };
  if (isMasked && !block.isChecked) checkValues(block, p.valueDim, s.cleanV);
  if (isMasked && block.hasNonFinite) {
    const int64_t stride = paddedDim(p.valueDim);
    add([&](const Piece& piece, int, int first) { return ValueRows{s.cleanV + piece.row * stride + first, stride}; });
    for (int i = 0; i < count; ++i)
      addNonFiniteValues(panel, s.segments[i], block.vStride, s.scores, s.table, p.valueDim);
  } else if (block.isPacked) {
    add([&](const Piece& piece, int dims, int first) {
      return ValueRows{s.packedV + int64_t(first) * task.shape.keys + piece.row * dims, dims};
    });
  } else {
    add([&](const Piece& piece, int, int first) { return ValueRows{piece.v + first, block.vStride}; });
  }
}

// out = O / sum and lse.
void finishPanel(const TileTask& task, const TileScratch& s, Panel& panel) {
  const Problem& p = *task.problem;
  const Token firstQuery = task.sequence.queries.begin;
  float factor[kPanel];
  for (int lane = 0; lane < kPanel; ++lane) {
    const int32_t head = panel.rows.head[lane];
    SoftmaxState state{panel.max[lane], panel.sum[lane]};
    factor[lane] = finishRow(state, p.sink(head));
    if (p.lse && lane < panel.rows.count) {
      *p.lseAt(task.sequence.batch, firstQuery + panel.rows.token[lane], head) = state.lse();
    }
  }
  const bool inPlace = isVectorRow(p.dtype, p.out.dim, p.valueDim);
  const int ld = paddedDim(p.valueDim);
  float* rows[kPanel];
  void* to[kPanel];
  for (int lane = 0; lane < kPanel; ++lane) {
    const int64_t at = p.out.offset(task.sequence.batch, firstQuery + panel.rows.token[lane], panel.rows.head[lane]);
    to[lane] = const_cast<void*>(elementAt(p.out.data, p.dtype, at));
    const bool isReal = lane < panel.rows.count;
    rows[lane] = inPlace && isReal ? static_cast<float*>(to[lane]) : s.rowBuffer + lane * ld;
  }
  lanesToRows(panel.output, factor, p.valueDim, rows);
  if (inPlace) return;
  for (int lane = 0; lane < panel.rows.count; ++lane) {
    writeRow(rows[lane], p.valueDim, p.dtype, p.out.dim, to[lane]);
  }
}

template <class Pattern>
void runTile(const TileTask& task, const Pattern& pattern, float* scratch) {
  TileScratch s;
  layOutTile(*task.problem, task.shape, scratch, s);
  const ScoreScale scale(*task.problem);
  const int panels = ceilDiv(task.rows, kPanel);
  for (int i = 0; i < panels; ++i) setUpPanel(task, s, i, scale, s.panels[i]);

  const Box<1> tokens{{{s.panels[0].tokens.axis[0].begin, s.panels[panels - 1].tokens.axis[0].end}}};
  KeyBlock block;
  const auto runBlock = [&] {
    if (block.spanCount == 0) return;
    stageBlock(task, s, block);
    for (int i = 0; i < panels; ++i) visitBlock(task, s, pattern, scale, block, s.panels[i]);
  };
  const auto startBlock = [&] {
    block = KeyBlock{};
    block.spans = s.spans;
  };
  startBlock();
  // Blocks end at multiples of their length, wherever the tile's keys begin: a row's sums are then cut alike in every
  // tile, and the choice of tile changes no bit.
  Token blockEnd = 0;
  forEachRun(pattern, task.map.firstHead, tokens, {0, task.sequence.keys.size()}, [&](const Run& run) {
    for (Token key = run.keys.begin; key < run.keys.end;) {
      if (key >= blockEnd) {
        runBlock();
        startBlock();
        blockEnd = (key / task.shape.keys + 1) * task.shape.keys;
      }
      const Token n = smaller<Token>(run.keys.end, blockEnd) - key;
      Span* last = block.spanCount > 0 ? &block.spans[block.spanCount - 1] : nullptr;
      if (last && last->keys.end == key) {
        last->keys.end += n;
      } else {
        block.spans[block.spanCount++] = {{key, key + n}, block.rows, nullptr, nullptr};
      }
      block.rows += n;
      key += n;
    }
  });
  runBlock();

  for (int i = 0; i < panels; ++i) finishPanel(task, s, s.panels[i]);
}
