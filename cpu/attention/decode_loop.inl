// Decode: few query rows against many keys, at memory speed. Every query head of a KV head shares one read of its keys
// and values. Included inside a target's anonymous namespace. Reader: start at Decode at the end; decode_steps.inl
// has what is computed.

struct DecodeScratch {
  float* query;  // [groups][paddedRows][paddedDim(headDim)]
  float *scores, *table;  // [kDecodeKeys + a vector][RowsPad]
  float *kRows, *vRows, *cleanV;
};

int64_t layOutDecode(const AttentionProblem& p, int groups, int rows, float* base, DecodeScratch& s) {
  Carver carver(base);
  const int64_t d = paddedDim(p.headDim), dv = paddedDim(p.valueDim);
  carver.take(s.query, int64_t(groups) * paddedRows(rows) * d);
  carver.take(s.scores, (kDecodeKeys + kLanes) * kLanes);
  carver.take(s.table, (kDecodeKeys + kLanes) * kLanes);
  carver.take(s.kRows, kDecodeKeys * d);
  carver.take(s.vRows, kDecodeKeys * dv);
  carver.take(s.cleanV, kDecodeKeys * dv);
  return carver.floats();
}

// Keys or values of a block: in place when they can be read as vectors, else converted to contiguous float32.
struct DecodeOperand {
  const void* data;
  DType type;
  int64_t stride;
};
DecodeOperand stageOperand(const Operand& operand, const AttentionProblem& p, int64_t at, int keys, int dim,
                           float* rows) {
  if (operand.dim == 1 && dim % kLanes == 0) return {elementAt(operand.data, p.keyType, at), p.keyType, operand.token};
  const int ld = paddedDim(dim);
  for (int key = 0; key < keys; ++key) {
    float* to = rows + key * ld;
    for (int d = dim; d < ld; ++d) to[d] = 0;
    readRow(elementAt(operand.data, p.keyType, at + key * operand.token), p.keyType, operand.dim, dim, to);
  }
  return {rows, DType::float32, ld};
}

// Keys of short runs that every row sees, joined until they fill a softmax step.
struct JoinedKeys {
  Token tokens[kDecodeKeys];
  int count = 0;
};

// Copies the rows of the joined keys side by side, in float32. They are anywhere, and were requested when they joined.
DecodeOperand gatherOperand(const Operand& operand, const AttentionProblem& p, const StoredRows& from,
                            const JoinedKeys& keys, int dim, float* rows) {
  const int ld = paddedDim(dim);
  for (int i = 0; i < keys.count; ++i) {
    float* to = rows + i * ld;
    for (int d = dim; d < ld; ++d) to[d] = 0;
    readRow(elementAt(operand.data, p.keyType, from.at(keys.tokens[i])), p.keyType, operand.dim, dim, to);
  }
  return {rows, DType::float32, ld};
}

// Whether values of keys that some row does not see hold NaN or infinity: weights of 0 would not keep those out of it.
template <int RowsPad, class Element>
bool hidesNonFinite(const Element* v, int64_t stride, int n, int dim, const float* table) {
  Vec bad = zero();
  for (int key = 0; key < n; ++key) {
    bool isHidden = false;
    for (int r = 0; r < RowsPad; ++r) isHidden |= table[key * RowsPad + r] == kHidden;
    if (!isHidden) continue;
    for (int d = 0; d < dim; d += kLanes) bad = add(bad, zeroIfFinite(Lanes(loadElements(v + key * stride + d))).v);
  }
  return reduceMax(whereEqual(bad, bad, zero(), splat(1))) > 0;
}

// Copies the values with NaN and infinity set to 0.
void cleanValues(const DecodeOperand& v, int n, int dim, float* clean) {
  const int ld = paddedDim(dim);
  for (int key = 0; key < n; ++key) {
    float* row = clean + key * ld;
    readRow(elementAt(v.data, v.type, key * v.stride), v.type, 1, dim, row);
    for (int d = 0; d < ld; ++d) row[d] = d < dim && isFinite(row[d]) ? row[d] : 0;
  }
}

// A run of at most kDecodeKeys keys against rows [first, first + n) of one KV head's map.
template <int RowsPad, class Pattern>
void decodeRun(const DecodeTask& task, const Pattern& pattern, const TileMap& map, int first, int n,
               const Stretch& stretch, const DecodeOperand& k, const DecodeOperand& v, const DecodeScratch& s,
               const DecodeRows<RowsPad>& group) {
  const AttentionProblem& p = *task.problem;
  QueryRows<RowsPad> rows;
  RuleEffect effect = RuleEffect::none;
  if (!stretch.isInterior || p.rules.areAny()) {
    rows.set(p, task.sequence, map, first, n);
    effect = Effects<kDecodeKeys>(p.rules, rows, stretch.run, 0, nullptr).ofAll();
    if (effect == RuleEffect::hidesAll) return;
  }
  const ScoreScale scale = p.scoreScaleAfterQueries();
  const int keys = stretch.run.places.size(), ldK = paddedDim(p.headDim), ldV = paddedDim(p.valueDim);
  const int dimK = (p.headDim + kLanes - 1) / kLanes * kLanes, dimV = (p.valueDim + kLanes - 1) / kLanes * kLanes;
  const ValuesToCome toCome{static_cast<const char*>(v.data), v.stride * sizeOf(v.type), p.valueDim * sizeOf(v.type)};
  Vec blockMax[1];
  withElementType(k.type, [&](auto* element) {
    blockMax[0] = decodeScores<RowsPad>(static_cast<decltype(element)>(k.data), k.stride, keys, group.query, ldK, dimK,
                                        s.scores, toCome);
  });
  const bool isMasked = !stretch.isInterior || effect == RuleEffect::some;
  const int vectors = ceilDiv(keys * RowsPad, kLanes);
  if (isMasked) {
    float ends[2 * RowsPad];
    for (int r = 0; r < RowsPad && !stretch.isInterior; ++r) {
      const Box<1> query{{{rows.token[r], rows.token[r] + 1}}};
      const Range seen = pattern.cut(pattern.look(map.firstHead, query), stretch.run).keys;
      ends[r] = float(seen.begin - stretch.run.places.begin);
      ends[RowsPad + r] = float(seen.end - stretch.run.places.begin);
    }
    const TokenMasks masks = tokenMasks(pattern, stretch.run, rows.token[0]);
    fillTable(p, rows, MaskedRun{stretch.run, stretch.isInterior ? nullptr : ends, masks}, s.table);
    for (int i = keys * RowsPad; i < vectors * kLanes; ++i) s.table[i] = kHidden;
  }
  if (isMasked || !scale.isNone()) {
    blockMax[0] = splat(-INFINITY);
    modifyScores(s.scores, isMasked ? s.table : nullptr, vectors, scale, blockMax);
  }
  float rescale[RowsPad];
  decodeSoftmax(group, s.scores, keys, blockMax[0], rescale);

  bool isClean = true;
  if (isMasked) {
    withElementType(v.type, [&](auto* element) {
      isClean = !hidesNonFinite<RowsPad>(static_cast<decltype(element)>(v.data), v.stride, keys, dimV, s.table);
    });
  }
  if (!isClean) cleanValues(v, keys, p.valueDim, s.cleanV);
  const DecodeOperand values = isClean ? v : DecodeOperand{s.cleanV, DType::float32, ldV};
  withElementType(values.type, [&](auto* element) {
    decodeValues<RowsPad>(static_cast<decltype(element)>(values.data), values.stride, keys, s.scores, rescale,
                          group.output, ldV, dimV);
  });
  if (isClean) return;
  withElementType(v.type, [&](auto* element) {  // what cleaning left out, for the rows that do see it
    const auto* rows = static_cast<decltype(element)>(v.data);
    for (int key = 0; key < keys; ++key)
      for (int d = 0; d < p.valueDim; ++d) {
        const float x = toFloat(rows[key * v.stride + d]);
        if (isFinite(x)) continue;
        for (int r = 0; r < RowsPad; ++r)
          if (s.table[key * RowsPad + r] != kHidden) group.output[r * ldV + d] += s.scores[key * RowsPad + r] * x;
      }
  });
}

// Calls f(width, first row, rows) for each slice of a group's rows that is computed together.
template <class F>
SIMD void forEachRowSlice(int rows, F&& f) {
  int first = 0;
  for (; rows - first > kWidestRows; first += kWidestRows) f(RegisterTile<kWidestRows>{}, first, kWidestRows);
  const int rest = rows - first, pad = rowsPad(rest);
  if (pad == 1) return f(RegisterTile<1>{}, first, rest);
  if (pad == 2) return f(RegisterTile<2>{}, first, rest);
  if (pad == 4) return f(RegisterTile<4>{}, first, rest);
  if constexpr (kWidestRows == 8) f(RegisterTile<8>{}, first, rest);
}

void setUpDecode(const DecodeTask& task, const PartialRows& out, const DecodeScratch& s) {
  const AttentionProblem& p = *task.problem;
  const float scale = scaleOfQueries(p.scale);
  const int ldK = paddedDim(p.headDim), perGroup = paddedRows(task.rows), total = task.groups * perGroup;
  __builtin_memset(s.query, 0, sizeof(float) * total * ldK);
  __builtin_memset(out.output, 0, sizeof(float) * total * paddedDim(p.valueDim));
  for (int i = 0; i < total; ++i) {
    out.max[i] = -INFINITY;
    out.sum[i] = 0;
  }
  for (int g = 0; g < task.groups; ++g) {
    for (int r = 0; r < task.rows; ++r) {
      float* query = s.query + (g * perGroup + r) * ldK;
      const TileMap::Row row = task.map.next(g).at(r);
      const int64_t token = task.sequence.queries.begin + row.token;
      const int64_t at = p.query.offset(task.sequence.batch, token, p.queryHeadOf(row.head));
      readRow(elementAt(p.query.data, p.dtype, at), p.dtype, p.query.dim, p.headDim, query);
      for (int d = 0; d < p.headDim; ++d) query[d] *= scale;
    }
  }
}

// One task: visits the keys that its rows may see, in order. Pieces of keys outermost, KV heads within: where the heads
// of a token are side by side (bnhd) a piece is then read from memory once, page by page, and not in parts of one head.
template <class Pattern>
class Decode {
 public:
  Decode(const DecodeTask& task, const Pattern& pattern, const PartialRows& out, float* scratch)
      : task_(task), p_(*task.problem), pattern_(pattern), out_(out) {
    layOutDecode(p_, task.groups, task.rows, scratch, s_);
    setUpDecode(task, out, s_);
  }

  void run() {
    const Token lastToken = task_.map.at(task_.rows - 1).token;
    const typename Pattern::Sight sight = pattern_.look(task_.map.firstHead, Box<1>{{{0, lastToken + 1}}});
    forEachRun(pattern_, sight, [&](const KeyRun& run) {
      const Range places = intersect(run.places, task_.keys);
      if (places.isEmpty()) return;
      forEachStretch(pattern_, sight, run.within(places), kLeastInterior, [&](const Stretch& stretch) {
        canJoin(stretch) ? join(stretch.run.places) : visitPieces(stretch);
      });
    });
    visitJoined();
  }

 private:
  // Short stretches that every row sees are bundled; the others are visited in pieces.
  bool canJoin(const Stretch& stretch) const {
    const bool isShort =
        p_.store.longestRun() < kDecodeKeys || (!Pattern::kIsDense && stretch.run.places.size() < kDecodeKeys);
    return isShort && stretch.isInterior && !p_.rules.areAny();
  }

  void join(const Range& places) {
    for (Token key = places.begin; key < places.end; ++key) {
      joined_.tokens[joined_.count++] = key;
      request(p_.key, key, p_.headDim);
      request(p_.value, key, p_.valueDim);
      if (joined_.count == kDecodeKeys) visitJoined();
    }
  }
  void visitJoined() {
    if (joined_.count == 0) return;
    visit(Stretch{KeyRun{{0, joined_.count}}, true},
          [&](const Operand& operand, const StoredRows& from, int dim, float* rows) {
            return gatherOperand(operand, p_, from, joined_, dim, rows);
          });
    joined_.count = 0;
  }

  void visitPieces(const Stretch& whole) {
    const Range& places = whole.run.places;
    for (Token key = places.begin; key < places.end && goesOn_;) {
      const Token end = smaller<Token>(places.end, key + smaller<Token>(p_.store.consecutive(key), kDecodeKeys));
      visit(Stretch{whole.run.within({key, end}), whole.isInterior},
            [&](const Operand& operand, const StoredRows& from, int dim, float* rows) {
              return stageOperand(operand, p_, from.at(key), end - key, dim, rows);
            });
      key = end;
    }
  }

  // Every row against a piece of keys, unless the call is cancelled. stage(operand, its rows, dim, buffer) brings keys
  // or values to where they are read.
  template <class Stage>
  void visit(const Stretch& stretch, Stage&& stage) {
    goesOn_ = goesOn_ && task_.pause();
    if (!goesOn_) return;
    const int perGroup = paddedRows(task_.rows), ldK = paddedDim(p_.headDim), ldV = paddedDim(p_.valueDim);
    for (int g = 0; g < task_.groups; ++g) {
      const TileMap map = task_.map.next(g);
      const DecodeOperand k = stage(p_.key, rowsOf(p_.key, map), p_.headDim, s_.kRows);
      const DecodeOperand v = stage(p_.value, rowsOf(p_.value, map), p_.valueDim, s_.vRows);
      forEachRowSlice(task_.rows, [&](auto width, int first, int n) {
        const int row = g * perGroup + first;
        const DecodeRows<decltype(width)::kRows> rows{s_.query + row * ldK, out_.max + row, out_.sum + row,
                                                      out_.output + row * ldV};
        decodeRun(task_, pattern_, map, first, n, stretch, k, v, s_, rows);
      });
    }
  }

  StoredRows rowsOf(const Operand& operand, const TileMap& map) const {
    return p_.store.rowsOf(operand, task_.sequence.keyBatch, task_.sequence.keys.begin, p_.kvHeadOf(map.firstHead));
  }
  // Requests a key's row of every KV head from memory.
  void request(const Operand& operand, Token key, int dim) const {
    for (int g = 0; g < task_.groups; ++g) {
      const int64_t at = rowsOf(operand, task_.map.next(g)).at(key);
      prefetchRow(elementAt(operand.data, p_.keyType, at), dim * sizeOf(p_.keyType));
    }
  }

  const DecodeTask& task_;
  const AttentionProblem& p_;
  const Pattern& pattern_;
  const PartialRows& out_;
  DecodeScratch s_;
  JoinedKeys joined_;
  bool goesOn_ = true;
};

// Decodes with the pattern that the problem names; grids have no decode.
void runDecodeTask(const DecodeTask& task, const PartialRows& out, float* scratch) {
  withPattern(*task.problem, task.sequence, [&](const auto& pattern) {
    if constexpr (!std::decay_t<decltype(pattern)>::kIsGrid) Decode(task, pattern, out, scratch).run();
  });
}
