// What the score rules do to a run of keys for rows of queries: found by looking at what they read, before anything is
// computed. Included inside a target's anonymous namespace. Reader: someone who follows a mask through a loop;
// core/score/effect.h says what the answers mean.
//
// Keys are looked at kEffectKeys at a time: a piece. A row that several queries share is looked at once.

constexpr int piecesOf(int keys) { return (keys + kEffectKeys - 1) / kEffectKeys; }

// Of up to a piece of elements at equal distances.
template <class Rule, class Element>
SIMD RuleEffect effectOfPiece(const Rule&, const Element* elements, int64_t stride, int n) {
  // As wide as the elements, so that a vector of them is counted at once.
  using Count = std::conditional_t<sizeof(Element) == 1, uint8_t,
                                   std::conditional_t<sizeof(Element) == 2, uint16_t, uint32_t>>;
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

// What one rule does to each piece of a run. A piece that is settled, `some` of it, is looked at no further.
template <class Rule, class Rows>
void findEffects(const Rule& rule, const typename Rule::Row (&row)[Rows::kWidth], const Rows& rows, const KeyRun& keys,
                 RuleEffect* effects) {
  const int n = keys.places.size(), pieces = piecesOf(n);
  for (int i = 0; i < pieces; ++i) effects[i] = RuleEffect::some;  // of other rules: what they add is seldom 0
  if constexpr (Rule::kReads) {
    if constexpr (Rule::kCoversAll) {
      const ScoreKey key = keyAt(keys, keys.places.begin), next = keyAt(keys, keys.places.begin + 1);
      const int64_t stride = rule.at(row[0], next) - rule.at(row[0], key);
      rule.withReader([&](const auto& read) {
        for (int r = 0; r < rows.count; ++r) {
          const int64_t first = rule.at(row[r], key);
          if (r > 0 && first == rule.at(row[r - 1], key)) continue;
          for (int i = 0; i < pieces; ++i) {
            if (r > 0 && effects[i] == RuleEffect::some) continue;
            const int at = i * kEffectKeys;
            const RuleEffect piece =
                effectOfPiece(rule, read.data + first + at * stride, stride, smaller(kEffectKeys, n - at));
            effects[i] = r == 0 ? piece : together(effects[i], piece);
          }
        }
      });
    }
  }
}

// Whether one rule hides a run of keys from all rows. Looks no further than the first pair that it does not.
template <class Rule, class Rows>
bool isHiddenBy(const Rule& rule, const typename Rule::Row (&row)[Rows::kWidth], const Rows& rows, const KeyRun& keys) {
  bool isHidden = false;
  if constexpr (Rule::kReads) {
    if constexpr (Rule::kCoversAll) {
      const ScoreKey key = keyAt(keys, keys.places.begin), next = keyAt(keys, keys.places.begin + 1);
      const int64_t stride = rule.at(row[0], next) - rule.at(row[0], key);
      const int n = keys.places.size();
      rule.withReader([&](const auto& read) {
        isHidden = true;
        for (int r = 0; r < rows.count && isHidden; ++r) {
          const int64_t first = rule.at(row[r], key);
          if (r > 0 && first == rule.at(row[r - 1], key)) continue;
          for (int at = 0; at < n && isHidden; at += kEffectKeys) {
            const int m = smaller(kEffectKeys, n - at);
            isHidden = effectOfPiece(rule, read.data + first + at * stride, stride, m) == RuleEffect::hidesAll;
          }
        }
      });
    }
  }
  return isHidden;
}
template <class Rows>
bool areHidden(const ScoreRules& rules, const Rows& rows, const KeyRun& keys) {
  bool isHidden = false;
  rows.rules.forEach(rules, [&](const auto& rule, const auto& row) {
    isHidden = isHidden || isHiddenBy(rule, row, rows, keys);
  });
  return isHidden;
}

// What the rules together do to each piece of a run of at most kMostKeys.
template <int kMostKeys>
struct Effects {
  RuleEffect of[piecesOf(kMostKeys)];
  int pieces;

  template <class Rows>
  Effects(const ScoreRules& rules, const Rows& rows, const KeyRun& run) : pieces(piecesOf(run.places.size())) {
    for (int i = 0; i < pieces; ++i) of[i] = RuleEffect::none;
    rows.rules.forEach(rules, [&](const auto& rule, const auto& row) {
      RuleEffect more[piecesOf(kMostKeys)];
      findEffects(rule, row, rows, run, more);
      for (int i = 0; i < pieces; ++i) of[i] = inTurn(of[i], more[i]);
    });
  }

  RuleEffect ofAll() const {
    RuleEffect all = of[0];
    for (int i = 1; i < pieces; ++i) all = together(all, of[i]);
    return all;
  }

  // Calls visit(part, whether its scores change) for the parts of the run that are not hidden from all rows.
  template <class Visit>
  void forEachPart(const KeyRun& run, Visit&& visit) const {
    for (int i = 0, end = 0; i < pieces; i = end) {
      while (end < pieces && of[end] == of[i]) ++end;
      if (of[i] == RuleEffect::hidesAll) continue;
      const Range part{run.places.begin + i * kEffectKeys, run.places.begin + end * kEffectKeys};
      visit(run.within(intersect(part, run.places)), of[i] == RuleEffect::some);
    }
  }
};
