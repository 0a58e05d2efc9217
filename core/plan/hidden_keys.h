// Hidden keys: the stretches that masks, and the starts of keys, leave of those that a pattern shows. Host only.
// Reader: someone who counts or draws a problem with `mask`, `keyMask` or `keyStarts`. Masks are asked as the loops ask
// them: some keys at a time, for all rows of a tile.
#pragma once

#include "../op/attention.h"
#include "../pattern/stretches.h"
#include "../score/effect.h"

namespace tilewise {

// Rows of consecutive heads that share a tile: row r is query r / heads of head firstHead + r % heads.
struct TileRows {
  int32_t firstHead;
  int64_t begin, end;
  int32_t heads;

  int64_t size() const { return end - begin; }
  Range queries() const { return {Token(begin / heads), Token(ceilDiv<int64_t>(end, heads))}; }
  // Those of one query, [begin, end).
  TileRows of(Token query) const {
    return {firstHead, larger(begin, int64_t(query) * heads), smaller(end, (int64_t(query) + 1) * heads), heads};
  }
};

class HiddenKeys {
 public:
  HiddenKeys() = default;  // none
  // `atOnce`: so many keys are left out together; 0: masks leave out none.
  HiddenKeys(const AttentionProblem& problem, const Sequence& sequence, Token atOnce)
      : rules_(&problem.rules), sequence_(sequence), atOnce_(atOnce) {
    forEachMask([&](const auto& rule) {
      hasMasks_ = true;
      variesByBatch_ |= rule.batch != 0;
      variesByHead_ |= rule.head != 0;
    });
  }

  bool hasMasks() const { return hasMasks_; }
  bool variesByBatch() const { return variesByBatch_; }
  bool variesByHead() const { return variesByHead_; }

  // Calls visit(Stretch) for the parts of a stretch that some row may see; what a mask changes is no interior.
  template <class Visit>
  void forEachLeft(const TileRows& rows, const Stretch& stretch, Visit&& visit) const {
    const Range places = intersect(stretch.run.places, {sequence_.keyStart, kMaxTokens});
    const auto part = [&](const Range& keys, RuleEffect effect) {
      if (keys.isEmpty() || effect == RuleEffect::hidesAll) return;
      visit(Stretch{stretch.run.within(keys), stretch.isInterior && effect == RuleEffect::none});
    };
    if (!hasMasks()) return part(places, RuleEffect::none);
    if (atOnce_ == 0) return part(places, RuleEffect::some);
    Range joined{places.begin, places.begin};
    RuleEffect effect = RuleEffect::hidesAll;
    while (joined.end < places.end) {
      const Token first = joined.end / atOnce_ * atOnce_;
      // Whole pieces are asked, as heads do that tell each other.
      const RuleEffect next = effectOn(rows, intersect({first, first + atOnce_}, {0, sequence_.keys.size()}));
      if (next != effect) {
        part(joined, effect);
        joined.begin = joined.end;
        effect = next;
      }
      joined.end = smaller(places.end, first + atOnce_);
    }
    part(joined, effect);
  }

  // How many rows of a query see a key, as far as masks say.
  int64_t rowsThatSee(const TileRows& rows, Token query, Token key) const {
    if (!hasMasks()) return rows.size();
    int64_t seeing = 0;
    for (int64_t r = rows.begin; r < rows.end; ++r)
      seeing += !hides(rows.firstHead + int32_t(r % rows.heads), query, key);
    return seeing;
  }
  bool hides(int32_t head, Token query, Token key) const {
    bool isHidden = false;
    forEachMask([&](const auto& rule) {
      withRow(rule, head, query, [&](const auto* row) { isHidden = isHidden || rule.hides(row[key * rule.key]); });
    });
    return isHidden;
  }

 private:
  // Calls visit(rule) for the rules that say of every pair whether it is hidden.
  template <class Visit>
  void forEachMask(Visit&& visit) const {
    if (!rules_) return;
    rules_->forEach([&](const auto& rule) {
      if constexpr (hasVisibleEffect<std::decay_t<decltype(rule)>>()) {
        if (rule.isPresent()) visit(rule);
      }
    });
  }

  // Calls visit(pointer to the element of the sequence's key 0).
  template <class Rule, class Visit>
  void withRow(const Rule& rule, int32_t head, Token query, Visit&& visit) const {
    const int64_t row = rule.row({sequence_.batch, sequence_.keyBatch, head, query, sequence_.keys.begin, {}});
    rule.withReader([&](const auto& read) { visit(read.data + row); });
  }

  RuleEffect effectOn(const TileRows& rows, const Range& keys) const {
    RuleEffect effect = RuleEffect::none;
    forEachMask([&](const auto& rule) {
      if (effect != RuleEffect::hidesAll) effect = inTurn(effect, effectOf(rule, rows, keys));
    });
    return effect;
  }
  template <class Rule>
  RuleEffect effectOf(const Rule& rule, const TileRows& rows, const Range& keys) const {
    RuleEffect effect = RuleEffect::none;
    const void* before = nullptr;
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      if (r > rows.begin && effect == RuleEffect::some) break;
      withRow(rule, rows.firstHead + int32_t(r % rows.heads), Token(r / rows.heads), [&](const auto* row) {
        if (row == before) return;
        before = row;
        int hiding = 0, idle = 0;
        for (Token key = keys.begin; key < keys.end; ++key) {
          hiding += rule.hides(row[key * rule.key]);
          idle += rule.isIdle(row[key * rule.key]);
        }
        const RuleEffect one = effectOfElements(keys.size(), hiding, idle);
        effect = r == rows.begin ? one : together(effect, one);
      });
    }
    return effect;
  }

  const ScoreRules* rules_ = nullptr;
  Sequence sequence_{};
  Token atOnce_ = 0;
  bool hasMasks_ = false, variesByBatch_ = false, variesByHead_ = false;
};

}  // namespace tilewise
