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

// Whether values of keys that some row does not see hold NaN or infinity: weights of 0 would not keep those out of it.
template <int RowsPad, class Element>
bool hidesNonFinite(const Element* v, const int64_t* at, int n, int dim, const float* table) {
  Vec bad = zero();
  for (int key = 0; key < n; ++key) {
    bool isHidden = false;
    for (int r = 0; r < RowsPad; ++r) isHidden |= table[key * RowsPad + r] == kHidden;
    if (!isHidden) continue;
    for (int d = 0; d < dim; d += kLanes) bad = add(bad, zeroIfFinite(Lanes(loadElements(v + at[key] + d))).v);
  }
  return reduceMax(whereEqual(bad, bad, zero(), splat(1))) > 0;
}

// Copies the values with NaN and infinity set to 0.
void cleanValues(const DecodeOperand& v, int n, int dim, float* clean) {
  const int ld = paddedDim(dim);
  for (int key = 0; key < n; ++key) {
    float* row = clean + key * ld;
    readRow(elementAt(v.data, v.type, v.at[key]), v.type, 1, dim, row);
    for (int d = 0; d < ld; ++d) row[d] = d < dim && isFinite(row[d]) ? row[d] : 0;
  }
}

// A piece of keys, staged, against rows [first, first + n) of one KV head's map.
struct StagedPiece {
  const DecodePiece& piece;
  DecodeOperand k, v;
  const int64_t* cleanAt;  // of rows of DecodeScratch::cleanV
};
template <int RowsPad, class Pattern>
void decodePiece(const DecodeTask& task, const Pattern& pattern, const TileMap& map, int first, int n,
                 const StagedPiece& staged, const Requests& requests, const DecodeScratch& s,
                 const DecodeRows<RowsPad>& group) {
  const AttentionProblem& p = *task.problem;
  const Stretch& stretch = staged.piece.stretch;
  const DecodeOperand &k = staged.k, &v = staged.v;
  QueryRows<RowsPad> rows;
  RuleEffect effect = RuleEffect::none;
  if (!stretch.isInterior || p.rules.areAny()) {
    rows.set(p, task.sequence, map, first, n);
    effect = Effects<kDecodeKeys>(p.rules, rows, stretch.run, 0, nullptr).ofAll();
    if (effect == RuleEffect::hidesAll) return;
  }
  const ScoreScale scale = p.scoreScaleAfterQueries();
  const int keys = staged.piece.count, ldK = paddedDim(p.headDim), ldV = paddedDim(p.valueDim);
  const int dimK = (p.headDim + kLanes - 1) / kLanes * kLanes, dimV = (p.valueDim + kLanes - 1) / kLanes * kLanes;
  Vec blockMax[1];
  if (group.isStrip) {
    blockMax[0] =
        stripScores(static_cast<const float*>(k.data), k.at, keys, group.query, p.headDim, s.scores, requests);
  } else {
    withElementType(k.type, [&](auto* element) {
      blockMax[0] = decodeScores<RowsPad>(static_cast<decltype(element)>(k.data), k.at, keys, group.query, ldK, dimK,
                                          s.scores, requests);
    });
  }
  const bool isMasked = !stretch.isInterior || effect == RuleEffect::some;
  const float addend = addendOf(pattern, stretch.run);
  const int vectors = ceilDiv(keys * RowsPad, kLanes);
  if (isMasked) {
    float ends[2 * RowsPad];
    for (int r = 0; r < RowsPad && !stretch.isInterior; ++r) {
      const Box<1> query{{{rows.token[r], rows.token[r] + 1}}};
      const Range seen = pattern.cut(pattern.look(rows.head[r], query), stretch.run).keys;
      ends[r] = float(seen.begin - stretch.run.places.begin);
      ends[RowsPad + r] = float(seen.end - stretch.run.places.begin);
    }
    const TokenMasks masks = tokenMasks(pattern, stretch.run, rows.token[0]);
    fillTable(p, rows, MaskedRun{stretch.run, stretch.isInterior ? nullptr : ends, masks}, s.table);
    for (int i = keys * RowsPad; i < vectors * kLanes; ++i) s.table[i] = kHidden;
  }
  if (isMasked || addend != 0 || !scale.isNone()) {
    blockMax[0] = splat(-INFINITY);
    modifyScores(s.scores, isMasked ? s.table : nullptr, vectors, scale, addend, blockMax);
  }
  float rescale[RowsPad];
  decodeSoftmax(group, s.scores, keys, blockMax[0], rescale);

  bool isClean = true;
  if (isMasked) {
    withElementType(v.type, [&](auto* element) {
      isClean = !hidesNonFinite<RowsPad>(static_cast<decltype(element)>(v.data), v.at, keys, dimV, s.table);
    });
  }
  if (!isClean) cleanValues(v, keys, p.valueDim, s.cleanV);
  const DecodeOperand values = isClean ? v : DecodeOperand{s.cleanV, DType::float32, staged.cleanAt};
  withElementType(values.type, [&](auto* element) {
    decodeValues<RowsPad>(static_cast<decltype(element)>(values.data), values.at, keys, s.scores, rescale, group.output,
                          ldV, dimV);
  });
  if (isClean) return;
  withElementType(v.type, [&](auto* element) {  // what cleaning left out, for the rows that do see it
    const auto* rows = static_cast<decltype(element)>(v.data);
    for (int key = 0; key < keys; ++key)
      for (int d = 0; d < p.valueDim; ++d) {
        const float x = toFloat(rows[v.at[key] + d]);
        if (isFinite(x)) continue;
        for (int r = 0; r < RowsPad; ++r)
          if (s.table[key * RowsPad + r] != kHidden) group.output[r * ldV + d] += s.scores[key * RowsPad + r] * x;
      }
  });
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
    forEachRowSlice(task.rows, [&](auto width, int first, int n) {
      const bool isStrip = hasStrips(task.rows) && decltype(width)::kRows == kLanes;
      float* const queries = s.query + (g * perGroup + first) * ldK;
      for (int r = 0; r < n; ++r) {
        float* const query = isStrip ? s.kRows : queries + r * ldK;
        const TileMap::Row row = task.map.next(g).at(first + r);
        const int64_t token = task.sequence.queries.begin + row.token;
        const int64_t at = p.query.offset(task.sequence.batch, token, p.queryHeadOf(row.head));
        readRow(elementAt(p.query.data, p.dtype, at), p.dtype, p.query.dim, p.headDim, query);
        for (int d = 0; d < p.headDim; ++d) (isStrip ? queries[d * kLanes + r] : query[d]) = query[d] * scale;
      }
    });
  }
}

// One task: visits the keys that its rows may see, in order. Pieces of keys outermost, KV heads within, and the rows of
// the piece to come requested meanwhile: memory is read in the order in which it lies, whatever the layout.
template <class Pattern>
class Decode {
 public:
  Decode(const DecodeTask& task, const Pattern& pattern, const PartialRows& out, float* scratch)
      : task_(task), p_(*task.problem), pattern_(pattern), out_(out) {
    layOutDecode(p_, task.groups, task.rows, scratch, s_);
    setUpDecode(task, out, s_);
    for (int i = 0; i < kDecodeKeys; ++i) {
      stagedKeyAt_[i] = int64_t(i) * paddedDim(p_.headDim);
      stagedValueAt_[i] = int64_t(i) * paddedDim(p_.valueDim);
    }
  }

  void run() {
    const typename Pattern::Sight sight =
        lookAmong(pattern_, task_.map.heads(), Box<1>{{{0, task_.map.at(task_.rows - 1).token + 1}}});
    forEachRun(pattern_, sight, [&](const KeyRun& run) {
      const Range places = intersect(run.places, task_.keys);
      if (places.isEmpty()) return;
      forEachStretch(pattern_, sight, run.within(places), kLeastInterior,
                     [&](const Stretch& stretch) { canJoin(stretch) ? join(stretch.run.places) : cut(stretch); });
    });
    if (joined_->count > 0) putJoined();
    if (waiting_->count > 0) visitWaiting(*waiting_);
  }

 private:
  // Short stretches that every row sees are joined until they fill a softmax step; the others are cut into pieces.
  bool canJoin(const Stretch& stretch) const {
    return !Pattern::kIsDense && stretch.run.places.size() < kDecodeKeys && stretch.isInterior && !p_.addsToScores();
  }
  void join(Range places) {
    while (!places.isEmpty()) {
      const Token end = smaller<Token>(places.end, places.begin + kDecodeKeys - joined_->count);
      add({places.begin, end}, *joined_);
      places.begin = end;
      if (joined_->count == kDecodeKeys) putJoined();
    }
  }
  void putJoined() {
    joined_->stretch = {KeyRun{{0, joined_->count}}, true};
    put(joined_);
  }

  void cut(const Stretch& whole) {
    const Range& places = whole.run.places;
    for (Token key = places.begin; key < places.end; key += kDecodeKeys) {
      const Range part{key, smaller<Token>(places.end, key + kDecodeKeys)};
      filled_->stretch = {whole.run.within(part), whole.isInterior};
      add(part, *filled_);
      put(filled_);
    }
  }

  void add(const Range& tokens, DecodePiece& piece) const {
    const StoredRows keys = rowsOf(p_.key, task_.map), values = rowsOf(p_.value, task_.map);
    for (Token token = tokens.begin; token < tokens.end;) {
      const int n = smaller<Token>(tokens.end - token, p_.store.consecutive(token));
      piece.add(keys.fromFirst(token), p_.key.token, values.fromFirst(token), p_.value.token, n);
      token += n;
    }
  }

  // The piece waits until the next one is known; the one that waited is visited, and its room is free to be filled.
  void put(DecodePiece*& piece) {
    if (waiting_->count > 0) visitWaiting(*piece);
    DecodePiece* const visited = waiting_;
    waiting_ = piece;
    piece = visited;
    piece->count = 0;
  }

  // Every row against the piece that waits, unless the call is cancelled.
  void visitWaiting(const DecodePiece& next) {
    waiting_->lookAhead(next, ahead_);
    const DecodePiece& piece = *waiting_;
    goesOn_ = goesOn_ && task_.pause();
    if (!goesOn_) return;
    const int perGroup = paddedRows(task_.rows), ldK = paddedDim(p_.headDim), ldV = paddedDim(p_.valueDim);
    for (int g = 0; g < task_.groups; ++g) {
      const TileMap map = task_.map.next(g);
      Requests requests{rowsToCome(p_.key, map, p_.headDim, piece.keyAt + ahead_),
                        rowsToCome(p_.value, map, p_.valueDim, piece.valueAt)};
      const bool asFloats = hasStrips(task_.rows);
      const StagedPiece staged{
          piece, stage(p_.key, map, p_.headDim, {piece.keyAt, piece.count, asFloats, s_.kRows, stagedKeyAt_}, requests),
          stage(p_.value, map, p_.valueDim, {piece.valueAt, piece.count, false, s_.vRows, stagedValueAt_}, requests),
          stagedValueAt_};
      forEachRowSlice(task_.rows, [&](auto width, int first, int n) {
        const int row = g * perGroup + first;
        const DecodeRows<decltype(width)::kRows> rows{s_.query + row * ldK, out_.max + row, out_.sum + row,
                                                      out_.output + row * ldV,
                                                      asFloats && decltype(width)::kRows == kLanes};
        decodePiece(task_, pattern_, map, first, n, staged, requests, s_, rows);
        requests.end();
      });
    }
  }

  DecodeOperand stage(const Operand& operand, const TileMap& map, int dim, const RowsToStage& rows,
                      Requests& requests) const {
    return stageOperand(operand, p_.keyType, rowsOf(operand, map).first, dim, rows, requests);
  }
  StoredRows rowsOf(const Operand& operand, const TileMap& map) const {
    return p_.store.rowsOf(operand, task_.sequence.keyBatch, task_.sequence.keys.begin, p_.kvHeadOf(map.firstHead));
  }
  RowsToCome rowsToCome(const Operand& operand, const TileMap& map, int dim, const int64_t* at) const {
    const int64_t size = sizeOf(p_.keyType);
    const void* first = elementAt(operand.data, p_.keyType, rowsOf(operand, map).first);
    return {static_cast<const char*>(first), at, size, dim * size};
  }

  const DecodeTask& task_;
  const AttentionProblem& p_;
  const Pattern& pattern_;
  const PartialRows& out_;
  DecodeScratch s_;
  int64_t stagedKeyAt_[kDecodeKeys], stagedValueAt_[kDecodeKeys];
  DecodePiece pieces_[3];
  DecodePiece *joined_ = &pieces_[0], *filled_ = &pieces_[1], *waiting_ = &pieces_[2];
  int ahead_ = smaller<int>(kMostAhead, kPrefetchBytes / (p_.headDim * sizeOf(p_.keyType)));
  bool goesOn_ = true;
};

// Decodes with the pattern that the problem names; grids have no decode.
void runDecodeTask(const DecodeTask& task, const PartialRows& out, float* scratch) {
  withPattern(*task.problem, task.sequence, [&](const auto& pattern) {
    if constexpr (!std::decay_t<decltype(pattern)>::kIsGrid) Decode(task, pattern, out, scratch).run();
  });
}
