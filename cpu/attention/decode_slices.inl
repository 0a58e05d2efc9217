// Decode on a slice of rows: the weights of a piece's keys, and the values that they weigh.
// Included inside a target's anonymous namespace. Reader: someone who reads decode_loop.inl, which calls them in turn;
// decode_steps.inl has the arithmetic.

// What a slice of rows makes of a piece's keys, until it meets their values.
struct SliceWeights {
  bool isHidden;  // from all rows: the rest says nothing then
  bool hidesSome;  // as the table says
  float rescale[kLanes];
  float weights[(kDecodeKeys + kLanes) * kLanes], table[(kDecodeKeys + kLanes) * kLanes];  // [keys][RowsPad]
};
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

// A slice of rows: [first, first + n) of one KV head's map.
template <int RowsPad>
struct DecodeSlice {
  const TileMap& map;
  int first, n;
  DecodeRows<RowsPad> rows;
};

// The weights of a piece's keys for a slice of rows: scores, masks, softmax or another activation.
template <int RowsPad, class Pattern>
void weighKeys(const DecodeTask& task, const Pattern& pattern, const DecodePiece& piece, const DecodeOperand& k,
               float* stripRows, float* codeRoom, const Requests& requests, const DecodeSlice<RowsPad>& slice,
               SliceWeights& s) {
  const AttentionProblem& p = *task.problem;
  const Stretch& stretch = piece.stretch;
  const DecodeRows<RowsPad>& group = slice.rows;
  QueryRows<RowsPad> rows;
  RuleEffect effect = RuleEffect::none;
  const bool hasFactors = p.scoreFactor.isPresent();
  if (!stretch.isInterior || p.rules.areAny() || hasFactors) {
    rows.set(p, task.sequence, slice.map, slice.first, slice.n);
    effect = Effects<kDecodeKeys>(p.rules, rows, stretch.run, 0, nullptr).ofAll();
  }
  s.isHidden = effect == RuleEffect::hidesAll;
  if (s.isHidden) return;
  ScoreScale scale = p.scoreScaleAfterQueries();
  const int keys = piece.count, ldK = paddedDim(p.headDim);
  const int dimK = (p.headDim + kLanes - 1) / kLanes * kLanes;
  Vec blockMax[1];
  const bool isCosine = p.cosine.isUsed;
  const auto score = [&](auto* element) {
    const auto* rows = static_cast<decltype(element)>(k.data);
    if constexpr (RowsPad == kLanes) {
      if (group.isStrip) {
        blockMax[0] = stripScores(rows, k.at, keys, group.query, p.headDim, isCosine, s.weights, stripRows, requests);
        return;
      }
    }
    blockMax[0] = isCosine
                      ? decodeScores<RowsPad, true>(rows, k.at, keys, group.query, ldK, dimK, s.weights, requests)
                      : decodeScores<RowsPad, false>(rows, k.at, keys, group.query, ldK, dimK, s.weights, requests);
  };
  if (k.codes) {
    blockMax[0] = codedScores<RowsPad>(*k.codes, keys, group.query, ldK, s.weights, codeRoom);
  } else {
    withElementType(k.type, score);
  }
  if (hasFactors) scale = applyFactor(s.weights, p, rows, stretch.run, scale);
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
  s.hidesSome = false;
  if (isMasked || hasFactors || addend != 0 || !scale.isNone()) {
    blockMax[0] = splat(-INFINITY);
    s.hidesSome = modifyScores(s.weights, isMasked ? s.table : nullptr, vectors, scale, addend, blockMax);
  }
  if (p.activation.isSoftmax()) {
    decodeSoftmax(group, s.weights, keys, blockMax[0], s.rescale);
  } else {
    decodeActivation(group, p.activation, task.sequence.keysInUse(), s.weights, keys, s.rescale);
  }
}

// Adds the values of a piece's keys by these weights; cleaned values have `cleanAt`.
template <int RowsPad>
void addWeighedValues(const AttentionProblem& p, int keys, const DecodeOperand& v, float* cleanV,
                      const int64_t* cleanAt, float* codeRoom, const DecodeRows<RowsPad>& group,
                      const SliceWeights& s) {
  if (s.isHidden) return;
  const int ldV = paddedDim(p.valueDim), dimV = (p.valueDim + kLanes - 1) / kLanes * kLanes;
  if (v.codes) return codedValues<RowsPad>(*v.codes, keys, s.weights, s.rescale, group.output, ldV, codeRoom);
  bool isClean = true;
  if (s.hidesSome) {
    withElementType(v.type, [&](auto* element) {
      isClean = !hidesNonFinite<RowsPad>(static_cast<decltype(element)>(v.data), v.at, keys, dimV, s.table);
    });
  }
  if (!isClean) cleanValues(v, keys, p.valueDim, cleanV);
  const DecodeOperand values = isClean ? v : DecodeOperand{cleanV, DType::float32, cleanAt};
  withElementType(values.type, [&](auto* element) {
    decodeValues<RowsPad>(static_cast<decltype(element)>(values.data), values.at, keys, s.weights, s.rescale,
                          group.output, ldV, dimV);
  });
  if (isClean) return;
  withElementType(v.type, [&](auto* element) {  // what cleaning left out, for the rows that do see it
    const auto* rows = static_cast<decltype(element)>(v.data);
    for (int key = 0; key < keys; ++key)
      for (int d = 0; d < p.valueDim; ++d) {
        const float x = toFloat(rows[v.at[key] + d]);
        if (isFinite(x)) continue;
        for (int r = 0; r < RowsPad; ++r)
          if (s.table[key * RowsPad + r] != kHidden) group.output[r * ldV + d] += s.weights[key * RowsPad + r] * x;
      }
  });
}
