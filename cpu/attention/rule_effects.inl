// What the score rules do to a run of keys for rows of queries: found by looking at what they read, before anything is
// computed. Included inside a target's anonymous namespace. Reader: someone who follows a mask through a loop;
// core/score/effect.h says what the answers mean.
//
// Keys are looked at kEffectKeys at a time: a piece, places [i * kEffectKeys, (i + 1) * kEffectKeys) of those there
// are. A row that several queries share is looked at once, and what heads share by the first of them (EffectTable).

// Most pieces that so many keys lie in.
constexpr int piecesOf(int keys) { return (keys + kEffectKeys - 2) / kEffectKeys + 1; }

// Of up to a piece of elements at equal distances.
template <class Rule, class Element>
SIMD RuleEffect effectOfPiece(const Rule&, const Element* elements, int64_t stride, int n) {
  // As wide as the elements, so that a vector of them is counted at once.
  using Count =
      std::conditional_t<sizeof(Element) == 1, uint8_t, std::conditional_t<sizeof(Element) == 2, uint16_t, uint32_t>>;
  static_assert(kEffectKeys < 256, "a byte counts a piece");
  Count hiding = 0, idle = 0;
  const auto count = [&](const Element& element) {
    hiding = Count(hiding + Rule::hides(element));
    idle = Count(idle + Rule::isIdle(element));
  };
  if (stride == 1 && n == kEffectKeys) {
    for (int i = 0; i < kEffectKeys; ++i) count(elements[i]);
  } else {
    for (int i = 0; i < n; ++i) count(elements[i * stride]);
  }
  return effectOfElements(n, hiding, idle);
}

// Of one rule on a piece, for all rows.
template <class Rule, class Rows>
RuleEffect effectOfRule(const Rule& rule, const typename Rule::Row (&row)[Rows::kWidth], const Rows& rows,
                        const KeyRun& piece) {
  RuleEffect effect = RuleEffect::some;  // of rules that are not worth a look: what they add is seldom 0
  if constexpr (Rule::kReads) {
    if constexpr (Rule::kCoversAll) {
      const ScoreKey key = keyAt(piece, piece.places.begin), next = keyAt(piece, piece.places.begin + 1);
      const int64_t stride = rule.at(row[0], next) - rule.at(row[0], key);
      rule.withReader([&](const auto& read) {
        for (int r = 0; r < rows.count; ++r) {
          const int64_t first = rule.at(row[r], key);
          if (r > 0 && first == rule.at(row[r - 1], key)) continue;
          // The next piece is requested: rows are pages apart, which the processor does not foresee.
          constexpr int kBytes = kEffectKeys * int(sizeof read.data[0]);
          const char* const next = reinterpret_cast<const char*>(read.data + first) + kBytes;
          for (int at = 0; stride == 1 && at < kBytes; at += kRequestLine) __builtin_prefetch(next + at, 0, 2);
          const RuleEffect one = effectOfPiece(rule, read.data + first, stride, piece.places.size());
          effect = r == 0 ? one : together(effect, one);
          if (effect == RuleEffect::some) break;
        }
      });
    }
  }
  return effect;
}
template <class Rows>
RuleEffect effectOfRules(const ScoreRules& rules, const Rows& rows, const KeyRun& piece) {
  RuleEffect effect = RuleEffect::none;
  rows.rules.forEach(rules, [&](const auto& rule, const auto& row) {
    if (effect != RuleEffect::hidesAll) effect = inTurn(effect, effectOfRule(rule, row, rows, piece));
  });
  return effect;
}

// What the rules together do to the pieces that a run of at most kMostKeys lies in. `known`: these rows' of the table,
// of a sequence with so many keys; null: there is none.
template <int kMostKeys>
class Effects {
 public:
  template <class Rows>
  Effects(const ScoreRules& rules, const Rows& rows, const KeyRun& run, Token keys, uint8_t* known)
      : run_(run), first_(run.places.begin / kEffectKeys) {
    for (Token place = first_ * kEffectKeys; place < run.places.end; place += kEffectKeys) {
      uint8_t* const note = known ? known + place / kEffectKeys : nullptr;
      const uint8_t noted = note ? __atomic_load_n(note, __ATOMIC_RELAXED) : 0;
      RuleEffect& effect = of_[pieces_++];
      if (noted != 0) {
        effect = RuleEffect(noted - 1);
        continue;
      }
      const Range piece{place, place + kEffectKeys};
      effect = effectOfRules(rules, rows, run.within(intersect(piece, note ? Range{0, keys} : run.places)));
      if (note) __atomic_store_n(note, uint8_t(int(effect) + 1), __ATOMIC_RELAXED);
    }
  }

  RuleEffect ofAll() const {
    RuleEffect all = of_[0];
    for (int i = 1; i < pieces_; ++i) all = together(all, of_[i]);
    return all;
  }

  // Calls visit(part, whether its scores change) for the parts of the run that are not hidden from all rows.
  template <class Visit>
  void forEachPart(Visit&& visit) const {
    for (int i = 0, end = 0; i < pieces_; i = end) {
      while (end < pieces_ && of_[end] == of_[i]) ++end;
      if (of_[i] == RuleEffect::hidesAll) continue;
      const Range part{(first_ + i) * kEffectKeys, (first_ + end) * kEffectKeys};
      visit(run_.within(intersect(part, run_.places)), of_[i] == RuleEffect::some);
    }
  }

 private:
  const KeyRun& run_;
  Token first_;  // number of the first piece
  RuleEffect of_[piecesOf(kMostKeys)] = {};
  int pieces_ = 0;
};
