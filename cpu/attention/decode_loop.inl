// Decode: few query rows against many keys, at memory speed. Every query head of a KV head shares one read of its keys
// and values. Included inside a target's anonymous namespace. Reader: start at Decode at the end; decode_slices.inl
// has what is done with a piece of keys.

struct DecodeScratch {
  float* query;  // [groups][paddedRows][paddedDim(headDim)]
  SliceWeights* slices;  // [groups][slices]
  float *kRows, *vRows, *cleanV;
  float* stripRows;  // [kNarrowTile][paddedDim(headDim)]
  float* codeRoom;  // scaled queries, [kLanes][paddedDim(headDim)], or weights of groups
};
inline int slicesOf(int rows) { return ceilDiv(rows, kLanes); }

int64_t layOutDecode(const AttentionProblem& p, int groups, int rows, float* base, DecodeScratch& s) {
  Carver carver(base);
  const int64_t d = paddedDim(p.headDim), dv = paddedDim(p.valueDim);
  carver.take(s.query, int64_t(groups) * paddedRows(rows) * d);
  carver.take(s.slices, int64_t(groups) * slicesOf(rows));
  carver.take(s.kRows, kDecodeKeys * d);
  carver.take(s.vRows, kDecodeKeys * dv);
  carver.take(s.cleanV, kDecodeKeys * dv);
  carver.take(s.stripRows, hasStrips(rows) ? kNarrowTile * d : 0);
  carver.take(s.codeRoom, p.store.codes ? larger(kLanes * d, dv / CodeForm::kChunk * kDecodeKeys * kLanes) : 0);
  return carver.floats();
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
        const float factor = p.cosine.isUsed ? scale * lengthFactorOf(query, p.headDim) : scale;
        for (int d = 0; d < p.headDim; ++d) (isStrip ? queries[d * kLanes + r] : query[d]) = query[d] * factor;
      }
    });
  }
}

// One task: visits the keys that its rows may see, in order. Pieces of keys outermost; within, the keys of all KV
// heads, then their values: memory is read in the order in which it lies, whatever the layout. The processor follows 64
// rows that are a page apart from head to head, and not the 128 of keys and values by turns (tokens first, huge
// pages: 12.4 and 13.5 GB/s, a thread).
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
    forEachLot([&](uint64_t groups) { lots_[lotCount_++] = groups; });
    // Lots have pieces of their own. Those that begin near each other are taken in turn, for the same reason.
    const Token step = lotCount_ > 1 ? kDecodeKeys : kMaxTokens;
    for (Range near{task_.keys.begin, task_.keys.begin}; near.begin < task_.keys.end; near.begin = near.end) {
      near.end = smaller<Token>(task_.keys.end, near.begin + step);
      for (int i = 0; i < lotCount_; ++i) take(lots_[i], near);
    }
    if (joined_->count > 0) putJoined();
    if (waiting_->count > 0) visitWaiting(*waiting_);
  }

 private:
  // Calls visit(groups, by bit) for groups whose rows see the same keys, as far as the pattern says.
  template <class Visit>
  void forEachLot(Visit&& visit) const {
    for (uint64_t left = openGroups(task_); left != 0;) {
      uint64_t lot = left;
      if constexpr (Pattern::kMixesHeads) {
        const Range heads = task_.map.next(__builtin_ctzll(left)).heads();
        forEachGroup(left, [&](int g) {
          const Range others = task_.map.next(g).heads();
          for (int i = 0; i < heads.size(); ++i)
            if (!pattern_.areSame(heads.begin + i, others.begin + i)) lot &= ~(uint64_t(1) << g);
        });
      }
      visit(lot);
      left &= ~lot;
    }
  }
  template <class Visit>
  static void forEachGroup(uint64_t groups, Visit&& visit) {
    for (; groups != 0; groups &= groups - 1) visit(__builtin_ctzll(groups));
  }

  // Takes the pieces of a lot that begin near here.
  void take(uint64_t lot, const Range& near) {
    lot_ = lot;
    const typename Pattern::Sight sight = lookAmong(pattern_, task_.map.next(__builtin_ctzll(lot)).heads(),
                                                    Box<1>{{{0, task_.map.at(task_.rows - 1).token + 1}}});
    forEachRun(pattern_, sight, [&](const KeyRun& run) {
      const Range places = intersect(run.places, task_.keys);
      if (places.isEmpty()) return;
      forEachStretch(pattern_, sight, run.within(places), kLeastInterior,
                     [&](const Stretch& stretch) { canJoin(stretch) ? join(stretch.run.places) : cut(stretch, near); });
    });
  }

  // Short stretches that every row sees are joined until they fill a softmax step; the others are cut into pieces.
  bool canJoin(const Stretch& stretch) const {
    return !Pattern::kIsDense && !p_.store.codes && stretch.run.places.size() < kDecodeKeys && stretch.isInterior &&
           !p_.changesScores();
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

  void cut(const Stretch& whole, const Range& near) {
    const Range& places = whole.run.places;
    const Token before = ceilDiv<Token>(larger<Token>(0, near.begin - places.begin), kDecodeKeys);
    const Token end = smaller(places.end, near.end);
    for (Token key = places.begin + before * kDecodeKeys; key < end; key += kDecodeKeys) {
      const Range part{key, smaller<Token>(places.end, key + kDecodeKeys)};
      if (p_.store.codes) {
        cutByCodes(whole, part);
        continue;
      }
      filled_->stretch = {whole.run.within(part), whole.isInterior};
      add(part, *filled_);
      put(filled_);
    }
  }
  // The same of keys that may have codes: parts that are kept alike.
  void cutByCodes(const Stretch& whole, Range part) {
    const CodedKeys& codes = *p_.store.codes;
    const int64_t b = task_.sequence.keyBatch;
    for (Token end; !part.isEmpty(); part.begin = end) {
      end = codes.endOfPart(b, part.begin, part.end);
      DecodePiece& piece = *filled_;
      piece.stretch = {whole.run.within({part.begin, end}), whole.isInterior};
      piece.firstCoded = part.begin;
      piece.areKeysCoded = codes.has(true, b, part.begin);
      piece.areValuesCoded = codes.has(false, b, part.begin);
      if (piece.areKeysCoded && piece.areValuesCoded) {
        piece.count = end - part.begin;
      } else {
        add({part.begin, end}, piece);
      }
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
    piece->groups = lot_;
    if (waiting_->count > 0) visitWaiting(*piece);
    DecodePiece* const visited = waiting_;
    waiting_ = piece;
    piece = visited;
    piece->count = 0;
  }

  // Every row against the piece that waits, unless the call is cancelled.
  void visitWaiting(const DecodePiece& next) {
    next_ = next.groups == waiting_->groups ? &next : waiting_;
    waiting_->lookAhead(*next_, ahead_);
    const DecodePiece& piece = *waiting_;
    goesOn_ = goesOn_ && task_.pause();
    if (!goesOn_) return;
    // Strips compute longer than memory takes: with values left for later they take 1.08 of the time (16 rows). The
    // codes of a head's values lie behind those of its keys.
    if (hasStrips(task_.rows) || piece.areValuesCoded) {
      forEachGroup(piece.groups, [&](int g) {
        weigh(piece, g);
        addValues(piece, g);
      });
    } else {
      forEachGroup(piece.groups, [&](int g) { weigh(piece, g); });
      forEachGroup(piece.groups, [&](int g) { addValues(piece, g); });
    }
  }
  void weigh(const DecodePiece& piece, int g) {
    const TileMap map = task_.map.next(g);
    Requests requests{rowsToCome(p_.key, map, p_.headDim, piece.keyAt + ahead_),
                      rowsToCome(p_.value, map, p_.valueDim, piece.valueAt)};
    const RowsToStage rows{piece.keyAt, piece.count, s_.kRows, stagedKeyAt_};
    CodedPiece codes;
    const DecodeOperand keys = piece.areKeysCoded ? stageCodes(piece, true, g, hasStrips(task_.rows), codes, rows)
                                                  : stage(p_.key, map, p_.headDim, rows, requests);
    if (piece.areKeysCoded) requests.end();
    if (piece.areKeysCoded && piece.areValuesCoded) codes.toCome = {codedRows(piece, false, g), piece.count};
    forEachSlice(g, map, [&](const auto& slice, SliceWeights& weights) {
      weighKeys(task_, pattern_, piece, keys, s_.stripRows, s_.codeRoom, requests, slice, weights);
      requests.end();
      codes.toCome = {};
    });
  }
  CodedRows codedRows(const DecodePiece& piece, bool areKeys, int g) const {
    const int32_t head = p_.kvHeadOf(task_.map.next(g).firstHead);
    return p_.store.codes->rows(areKeys, task_.sequence.keyBatch, head, piece.firstCoded);
  }
  // Codes of a head in place where their rows are vectors, else as float32.
  DecodeOperand stageCodes(const DecodePiece& piece, bool areKeys, int g, bool isCopied, CodedPiece& codes,
                           const RowsToStage& rows) const {
    codes.rows = codedRows(piece, areKeys, g);
    if (!isCopied && areVectorCodes(*codes.rows.form)) return {nullptr, DType::float32, nullptr, &codes};
    const int ld = paddedDim(codes.rows.form->dim);
    for (int i = 0; i < rows.count; ++i) readCodedRow(codes.rows, i, rows.buffer + i * ld);
    return {rows.buffer, DType::float32, rows.bufferAt};
  }
  // The keys that are read after the values of a group, if they have codes.
  BytesToCome keysAfter(const DecodePiece& piece, int g) const {
    const uint64_t left = piece.groups >> g >> 1;
    const DecodePiece& next = left != 0 ? piece : *next_;
    if ((left == 0 && next_ == waiting_) || !next.areKeysCoded) return {};
    return {codedRows(next, true, left != 0 ? g + 1 + __builtin_ctzll(left) : __builtin_ctzll(next.groups)),
            next.count};
  }
  void addValues(const DecodePiece& piece, int g) {
    const TileMap map = task_.map.next(g);
    Requests none;
    const RowsToStage rows{piece.valueAt, piece.count, s_.vRows, stagedValueAt_};
    CodedPiece codes;
    // Values that some row does not see are looked at one by one: as floats.
    bool hidesSome = false;
    if (piece.areValuesCoded) {
      codes.toCome = keysAfter(piece, g);
      forEachSlice(g, map, [&](const auto&, const SliceWeights& of) { hidesSome |= !of.isHidden && of.hidesSome; });
    }
    const DecodeOperand values = piece.areValuesCoded ? stageCodes(piece, false, g, hidesSome, codes, rows)
                                                      : stage(p_.value, map, p_.valueDim, rows, none);
    forEachSlice(g, map, [&](const auto& slice, const SliceWeights& weights) {
      addWeighedValues(p_, piece.count, values, s_.cleanV, stagedValueAt_, s_.codeRoom, slice.rows, weights);
      codes.toCome = {};
    });
  }
  // Calls visit(slice, its weights) for the slices of a group's rows.
  template <class Visit>
  void forEachSlice(int g, const TileMap& map, Visit&& visit) const {
    const int perGroup = paddedRows(task_.rows), ldK = paddedDim(p_.headDim), ldV = paddedDim(p_.valueDim);
    forEachRowSlice(task_.rows, [&](auto width, int first, int n) {
      constexpr int kRows = decltype(width)::kRows;
      const int row = g * perGroup + first;
      const DecodeRows<kRows> rows{s_.query + row * ldK, out_.max + row, out_.sum + row, out_.output + row * ldV,
                                   hasStrips(task_.rows) && kRows == kLanes};
      visit(DecodeSlice<kRows>{map, first, n, rows}, s_.slices[g * slicesOf(task_.rows) + first / kLanes]);
    });
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
  const DecodePiece* next_ = waiting_;  // that is visited after the one that waits; itself: none is known
  int ahead_ = smaller<int>(kMostAhead, kPrefetchBytes / (p_.headDim * sizeOf(p_.keyType)));
  uint64_t lots_[kMostBundle], lot_ = 0;  // and the one whose pieces are taken
  int lotCount_ = 0;
  bool goesOn_ = true;
};

// Decodes with the pattern that the problem names; grids have no decode.
void runDecodeTask(const DecodeTask& task, const PartialRows& out, float* scratch) {
  withPattern(*task.problem, task.sequence, [&](const auto& pattern) {
    if constexpr (!std::decay_t<decltype(pattern)>::kIsGrid) Decode(task, pattern, out, scratch).run();
  });
}
