// The fused loop's steps: one panel of queries against one block of keys, scores never leaving the cache.
// Included inside a target's anonymous namespace. Reader: start at visitSegments(); tile_loop.inl says what is visited.
// Idea: FlashAttention (arXiv 2205.14135) with queries in the vector lanes.

// One panel: kPanel queries, one per lane.
struct Panel {
  int index;  // in its tile, of its head
  int32_t head;  // of those that the tile takes together
  QueryRows<kPanel> rows;
  float* query;  // [headDim][kPanel], scaled
  float* output;  // [valueDim][kPanel], not yet divided by sum
  alignas(64) float max[kPanel], sum[kPanel];
};

// Keys of the current block that a panel takes in one go.
struct Segment {
  MaskedRun run;  // unless isMasked, only its first run if several were joined
  int first, count;  // rows of the block
  int scoreRow;  // row of the panel's scores
  const float* k;
  const float* v;
  bool isMasked;  // something hides keys or adds other things to scores than the run's addend
  bool hasTable;  // by a table; else by the ends of each query alone
  bool hasFactors;  // scores are multiplied first
};

// Segments that are next to each other: to the second product it makes no difference how they were masked.
struct Piece {
  int row, count;
  const float* v;
};

struct TileScratch {
  KeyBuffers buffers;
  float *queries, *outputs;  // per panel [dim][kPanel]
  float* scores;  // [keys][kPanel]
  float* table;  // [kRuleKeys][kPanel]
  float*
      shared;  // tiles of several heads: the tables of a block, per panel of the first head [keys][kPanel]; else null
  float* ends;  // per segment [2][kPanel]
  bool* sharedHides;  // whether the table that begins at this key of `shared` hides any
  float* rowBuffer;  // [kPanel][paddedDim]
  Panel* panels;
  char* sights;  // per panel, of the pattern's type
  Span* spans;
  Segment* segments;
  Piece* pieces;
  int64_t keys;  // of a block, at most
};

// Lays out a tile's scratch from `base`; with base == nullptr only counts floats.
int64_t layOutTile(const AttentionProblem& p, TileShape shape, int64_t sightBytes, float* base, TileScratch& s) {
  Carver carver(base);
  const int64_t perHead = ceilDiv<int64_t>(shape.queries, kPanel), panels = perHead * shape.heads, keys = shape.keys;
  const int64_t d = paddedDim(p.headDim), dv = paddedDim(p.valueDim);
  s.keys = keys;
  carver.take(s.queries, panels * d * kPanel);
  carver.take(s.outputs, panels * dv * kPanel);
  carver.take(s.buffers.kRows, keys * d);
  carver.take(s.buffers.vRows, keys * dv);
  carver.take(s.buffers.packedV, keys * dv);
  carver.take(s.buffers.cleanV, keys * dv);
  carver.take(s.buffers.nextRows, 2 * keys);
  carver.take(s.scores, keys * kPanel);
  carver.take(s.table, kRuleKeys * kPanel);
  s.shared = nullptr;
  s.sharedHides = nullptr;
  if (shape.sharesTables) {
    carver.take(s.shared, perHead * keys * kPanel);
    carver.take(s.sharedHides, perHead * keys);
  }
  carver.take(s.ends, keys * 2 * kPanel);
  carver.take(s.rowBuffer, kPanel * larger(d, dv));
  carver.take(s.panels, panels);
  carver.take(s.sights, panels * sightBytes);
  carver.take(s.spans, 2 * keys);
  carver.take(s.segments, keys);
  carver.take(s.pieces, keys);
  return carver.floats();
}

// S^T of all dims but the last strip's, returns how many dims those are: queries of more would not stay in L1 from one
// register tile to the next. Sums go on where the strip before left them, so that strips change no bit.
template <class Between>
__attribute__((noinline)) int scoresOfStrips(const KeyBlock& block, const float* k, int n, const Panel& panel, int dim,
                                             float* s, Between& between) {
  const int64_t kStride = block.kStride;
  int begin = 0;
  for (; begin + kStripDims < dim; begin += kStripDims) {
    forEachTile(n, [&](auto tile, int first) {
      tile.startFrom(begin == 0 ? nullptr : s + first * kPanel);
      between(kStripDims, [&](int d, int dims) {
        d += begin;
        addProducts(tile, k + first * kStride + d, 1, kStride, panel.query + d * kPanel, dims);
      });
      tile.writeTo(s + first * kPanel);
    });
  }
  return begin;
}

// S^T = K Q^T for `n` keys of the block, hidden outside of each query's ends if there are any; or plus a table like s.
// Raises `blockMax` lane by lane. The products of a register tile are between(how many, products).
template <class Between>
void scores(KeyBlock& block, const float* k, int n, const Panel& panel, int dim, const float* ends, const float* table,
            float* s, Vec (&blockMax)[kTileVecs], Between& between) {
  const int64_t kStride = block.kStride;
  const int begin = dim <= kUnstripedDim ? 0 : scoresOfStrips(block, k, n, panel, dim, s, between);
  forEachTile(n, [&](auto tile, int first) {
    for (int i = 0; i < block.prefetchSteps; ++i) {
      block.nextKeys.step();
      block.nextValues.step();
    }
    tile.startFrom(begin == 0 ? nullptr : s + first * kPanel);
    between(dim - begin, [&](int d, int dims) {
      d += begin;
      addProducts(tile, k + first * kStride + d, 1, kStride, panel.query + d * kPanel, dims);
    });
    if (ends) hideOutside(tile, ends, float(first));
    if (table) addTable(tile, table + first * kPanel);
    tile.raiseTo(blockMax);
    tile.writeTo(s + first * kPanel);
  });
}

// P = exp(S - max) in place; max and sum move on, `rescale` is what earlier outputs shrink by.
void softmaxStep(Panel& panel, float* s, int n, const Vec (&blockMax)[kTileVecs], Vec (&rescale)[kTileVecs]) {
#pragma GCC unroll 4
  for (int c = 0; c < kTileVecs; ++c) {
    const Vec before = load(panel.max + c * kLanes), now = max(blockMax[c], before);
    const Vec base = max(splat(-FLT_MAX), now);  // subtrahend(): finite even when nothing is visible yet
    rescale[c] = exp(sub(before, base));
    Vec sum[4] = {zero(), zero(), zero(), zero()};
    float* p = s + c * kLanes;
    int i = 0;
    for (; i + 4 <= n; i += 4, p += 4 * kPanel) {
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        const Vec e = exp(sub(load(p + u * kPanel), base));
        store(p + u * kPanel, e);
        sum[u] = add(sum[u], e);
      }
    }
    for (; i < n; ++i, p += kPanel) {
      const Vec e = exp(sub(load(p), base));
      store(p, e);
      sum[0] = add(sum[0], e);
    }
    const Vec total = add(add(sum[0], sum[1]), add(sum[2], sum[3]));
    store(panel.max + c * kLanes, now);
    store(panel.sum + c * kLanes, mulAdd(load(panel.sum + c * kLanes), rescale[c], total));
  }
}

// The same of another activation: P is a function of S alone, and earlier outputs stay as they are.
void activationStep(const TileTask& task, Panel& panel, float* s, int n, Vec (&rescale)[kTileVecs]) {
  for (Vec& r : rescale) r = splat(1.0f);
  for (float& max : panel.max) max = 0;
  withWeights(task.problem->activation, task.sequence.keysInUse(), [&](auto&& weigh) {
    for (int i = 0; i < n * kPanel; i += kLanes) store(s + i, weigh(load(s + i)));
  });
}

struct ValueRows {
  const float* v;
  int64_t stride;
};
// O^T = O^T * rescale + V^T P^T over the pieces of a block. valuesOf(piece, tile, first dim) says where they are;
// products as in scores().
template <class Between, class ValuesOf>
void addValues(const Panel& panel, const Piece* pieces, int count, const float* p, int dim,
               const Vec (&rescale)[kTileVecs], Between& between, ValuesOf&& valuesOf) {
  forEachTile(dim, [&](auto tile, int first) {
    float* out = panel.output + first * kPanel;
    tile.readScaled(out, rescale);
    const float* weights = p;
    for (int i = 0; i < count; ++i) {
      const ValueRows values = valuesOf(pieces[i], tile.kRows, first);
      between(pieces[i].count, [&](int key, int keys) {
        addProducts(tile, values.v + key * values.stride, values.stride, 1, weights + key * kPanel, keys);
      });
      weights += pieces[i].count * kPanel;
    }
    tile.writeTo(out);
  });
}

// Adds what cleaned values left out, to the lanes that do see the key. Rare: only blocks with NaN or infinite values.
void addNonFiniteValues(const AttentionProblem& p, const Panel& panel, const Segment& segment, int64_t vStride,
                        const float* weights, float* table) {
  for (int key = 0; key < segment.count; ++key) {
    const float* v = segment.v + key * vStride;
    if (segment.isMasked) fillTable(p, panel.rows, segment.run.part(key, 1), table);
    for (int d = 0; d < p.valueDim; ++d) {
      if (isFinite(v[d])) continue;
      for (int lane = 0; lane < kPanel; ++lane) {
        if (segment.isMasked && table[lane] == kHidden) continue;
        panel.output[d * kPanel + lane] += weights[(segment.scoreRow + key) * kPanel + lane] * v[d];
      }
    }
  }
}

// The scores of keys [first, first + n) of a segment that factors, rules, a scale or the pattern change: at once, while
// they are in L1. Returns whether any is hidden.
template <class Between>
bool changedScores(const AttentionProblem& p, const TileScratch& s, const ScoreScale& scale, KeyBlock& block,
                   const Panel& panel, const Segment& segment, int first, int n, Vec (&blockMax)[kTileVecs],
                   Between& between) {
  float* const part = s.scores + (segment.scoreRow + first) * kPanel;
  const float* const k = segment.k + first * block.kStride;
  Vec raw[kTileVecs];
  for (Vec& m : raw) m = zero();
  const MaskedRun run = segment.run.part(first, n);
  const auto multiplied = [&] {
    return segment.hasFactors ? applyFactors(part, p, panel.rows, run.keys, block.isExtra, scale) : scale;
  };
  if (!segment.isMasked) {
    scores(block, k, n, panel, p.headDim, nullptr, nullptr, part, raw, between);
    return modifyScores(part, nullptr, n * kTileVecs, multiplied(), segment.run.addend, blockMax);
  }
  // What the rules say to the first of several heads they say to all.
  const int64_t shared = s.shared ? int64_t(panel.index) * s.keys + segment.scoreRow + first : 0;
  float* const table = s.shared ? s.shared + shared * kPanel : s.table;
  if (s.shared && panel.head > 0 && !segment.hasFactors && run.addend == 0 && scale.isNone()) {
    scores(block, k, n, panel, p.headDim, nullptr, table, part, blockMax, between);
    return s.sharedHides[shared];
  }
  if (s.shared && panel.head > 0) {
    scores(block, k, n, panel, p.headDim, nullptr, nullptr, part, raw, between);
    return modifyScores(part, table, n * kTileVecs, multiplied(), run.addend, blockMax);
  }
  RuleRequests<kPanel> requests(p.rules, panel.rows, run.keys);
  // Requested between calls of scores(): from within it they take an accumulator out of its register (AVX2), which
  // costs half of its speed.
  const int lines = ceilDiv(requests.lines(), ceilDiv(n, kRequestKeys));
  for (int key = 0; key < n; key += kRequestKeys) {
    requests.step(lines);
    const int keys = smaller(kRequestKeys, n - key);
    scores(block, k + key * block.kStride, keys, panel, p.headDim, nullptr, nullptr, part + key * kPanel, raw, between);
  }
  const ScoreScale left = multiplied();
  if (!s.shared && canModifyByRule(p.rules, run, left))
    return modifyByRule(part, p.rules, panel.rows, run, left, blockMax);
  fillTable(p, panel.rows, run, table);
  const bool hides = modifyScores(part, table, n * kTileVecs, left, run.addend, blockMax);
  if (s.shared) s.sharedHides[shared] = hides;
  return hides;
}

// A panel's steps for its segments of a block: scores, softmax, values; products as in scores().
template <class Between>
void visitSegments(const TileTask& task, const TileScratch& s, const ScoreScale& scale, KeyBlock& block, Panel& panel,
                   int count, Between& between) {
  const AttentionProblem& p = *task.problem;
  Vec blockMax[kTileVecs];
  for (Vec& m : blockMax) m = splat(-INFINITY);
  int pieces = 0, rows = 0;
  bool hidesSome = false;
  for (int i = 0; i < count; ++i) {
    const Segment& segment = s.segments[i];
    const int n = segment.count;
    hidesSome |= segment.run.ends != nullptr;
    Piece* last = pieces > 0 ? &s.pieces[pieces - 1] : nullptr;
    if (last && last->row + last->count == segment.first && last->v + last->count * block.vStride == segment.v) {
      last->count += n;
    } else {
      s.pieces[pieces++] = {segment.first, n, segment.v};
    }
    rows += n;

    float* segmentScores = s.scores + segment.scoreRow * kPanel;
    if (!segment.hasTable && !segment.hasFactors && segment.run.addend == 0 && scale.isNone()) {
      scores(block, segment.k, n, panel, p.headDim, segment.run.ends, nullptr, segmentScores, blockMax, between);
      continue;
    }
    for (int first = 0; first < n; first += kRuleKeys) {
      const int keys = smaller(kRuleKeys, n - first);
      hidesSome |= changedScores(p, s, scale, block, panel, segment, first, keys, blockMax, between);
    }
  }

  Vec rescale[kTileVecs];
  if (p.activation.isSoftmax()) {
    softmaxStep(panel, s.scores, rows, blockMax, rescale);
  } else {
    activationStep(task, panel, s.scores, rows, rescale);
  }

  const auto add = [&](auto&& valuesOf) {
    addValues(panel, s.pieces, pieces, s.scores, p.valueDim, rescale, between, valuesOf);
  };
  if (hidesSome && !block.isChecked) checkValues(block, p.valueDim, s.buffers.cleanV);
  if (hidesSome && block.hasNonFinite) {
    const int64_t stride = paddedDim(p.valueDim);
    add([&](const Piece& piece, int, int first) {
      return ValueRows{s.buffers.cleanV + piece.row * stride + first, stride};
    });
    for (int i = 0; i < count; ++i) addNonFiniteValues(p, panel, s.segments[i], block.vStride, s.scores, s.table);
  } else if (block.isPacked) {
    add([&](const Piece& piece, int dims, int first) {
      return ValueRows{s.buffers.packedV + int64_t(first) * task.shape.keys + piece.row * dims, dims};
    });
  } else {
    add([&](const Piece& piece, int, int first) { return ValueRows{piece.v + first, block.vStride}; });
  }
}
