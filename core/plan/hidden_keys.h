// Hidden keys: the stretches that masks, the starts of keys, and a gate leave of those that a pattern shows. Host only.
// Reader: someone who counts or draws a problem with `mask`, `keyMask`, `keyStarts` or `gate`. Masks are asked as the
// loops ask them: some keys at a time, for all rows of a tile. From rows that a gate closes all keys are hidden.
#pragma once

#include <vector>

#include "../op/attention.h"
#include "../op/tile_rule.h"
#include "../pattern/stretches.h"
#include "../score/effect.h"

namespace tilewise {

// Rows of a tile, [begin, end) of consecutive heads: row r is query r / heads of head firstHead + r % heads.
struct TileRows {
  int32_t firstHead;
  int64_t begin, end;
  int32_t heads;

  int64_t size() const { return end - begin; }
  int32_t headOf(int64_t row) const { return firstHead + int32_t(row % heads); }
  Token queryOf(int64_t row) const { return Token(row / heads); }
  Range queries() const { return {Token(begin / heads), Token(ceilDiv<int64_t>(end, heads))}; }
  Range headsOf() const { return {firstHead, firstHead + heads}; }
  // Those of one query, [begin, end).
  TileRows of(Token query) const {
    return {firstHead, larger(begin, int64_t(query) * heads), smaller(end, (int64_t(query) + 1) * heads), heads};
  }
};

// The queries of a box of a grid, as the rows of a tile: tokens of one head.
struct GridRows {
  int32_t head = 0;
  std::vector<Token> tokens;

  static constexpr int64_t begin = 0;
  int64_t size() const { return int64_t(tokens.size()); }
  int32_t headOf(int64_t /*row*/) const { return head; }
  Token queryOf(int64_t row) const { return tokens[size_t(row)]; }
};

class HiddenKeys {
 public:
  HiddenKeys() = default;  // none
  HiddenKeys(const AttentionProblem& problem, const Sequence& sequence, const TileRule& rule)
      : problem_(&problem), sequence_(sequence), atOnce_(rule.maskKeys), isByLine_(rule.isMaskedByLine) {
    if (problem.skipsClosedRows()) {
      gate_ = problem.gate;
      variesByBatch_ = gate_.batch != 0;
      variesByHead_ = gate_.head != 0;
    }
    forEachMask([&](const auto& rule) {
      hasMasks_ = true;
      variesByBatch_ |= rule.batch != 0;
      variesByHead_ |= rule.head != 0;
    });
  }

  bool areAny() const { return hasMasks_ || gate_.isPresent(); }
  bool variesByBatch() const { return variesByBatch_; }
  bool variesByHead() const { return variesByHead_; }

  // Calls visit(Stretch) for the parts of a stretch that some row may see; what a mask changes is no interior.
  template <class Rows, class Visit>
  void forEachLeft(const Rows& rows, const Stretch& stretch, Visit&& visit) const {
    if (openRows(rows) == 0) return;
    const Range places = intersect(stretch.run.places, {sequence_.keyStart, kMaxTokens});
    const auto part = [&](const Range& keys, RuleEffect effect) {
      if (keys.isEmpty() || effect == RuleEffect::hidesAll) return;
      visit(Stretch{stretch.run.within(keys), stretch.isInterior && effect == RuleEffect::none});
    };
    if (!hasMasks_) return part(places, RuleEffect::none);
    if (atOnce_ == 0) return part(places, RuleEffect::some);
    Range joined{places.begin, places.begin};
    RuleEffect effect = RuleEffect::hidesAll;
    while (joined.end < places.end) {
      const Piece piece = pieceAt(stretch.run, joined.end);
      const RuleEffect next = effectOn(rows, piece.asked);
      if (next != effect) {
        part(joined, effect);
        joined.begin = joined.end;
        effect = next;
      }
      joined.end = smaller(places.end, piece.end);
    }
    part(joined, effect);
  }

  // How many of the rows are computed for their own sake.
  template <class Rows>
  int64_t openRows(const Rows& rows) const {
    if (!gate_.isPresent()) return rows.size();
    int64_t open = 0;
    for (int64_t r = rows.begin; r < rows.begin + rows.size(); ++r) open += !isClosed(rows.headOf(r), rows.queryOf(r));
    return open;
  }
  // How many rows of a query see a key, as far as masks and the gate say.
  int64_t rowsThatSee(const TileRows& rows, Token query, Token key) const {
    if (!areAny()) return rows.size();
    int64_t seeing = 0;
    for (int64_t r = rows.begin; r < rows.end; ++r) seeing += !hides(rows.headOf(r), query, key);
    return seeing;
  }
  bool hides(int32_t head, Token query, Token key) const {
    bool isHidden = isClosed(head, query);
    forEachMask([&](const auto& rule) {
      withRow(rule, head, query, [&](const auto* row) { isHidden = isHidden || rule.hides(row[key * rule.key]); });
    });
    return isHidden;
  }

 private:
  bool isClosed(int32_t head, Token query) const {
    return gate_.closes({sequence_.batch, sequence_.queries.begin + query, head});
  }

  // Calls visit(rule) for the rules that say of every pair whether it is hidden.
  template <class Visit>
  void forEachMask(Visit&& visit) const {
    if (!problem_) return;
    problem_->rules.forEach([&](const auto& rule) {
      if constexpr (hasVisibleEffect<std::decay_t<decltype(rule)>>()) {
        if (rule.isPresent()) visit(rule);
      }
    });
  }

  // Calls visit(pointer to the element of the sequence's key 0).
  template <class Rule, class Visit>
  void withRow(const Rule& rule, int32_t head, Token query, Visit&& visit) const {
    const int32_t kvHead = problem_->kvHeadOf(head);
    const int64_t row = rule.row({sequence_.batch, sequence_.keyBatch, head, kvHead, query, sequence_.keys.begin, {}});
    rule.withReader([&](const auto& read) { visit(read.data + row); });
  }

  // Keys that are asked together, the one at `place` among them, and the run's first place after them.
  struct Piece {
    KeyRun asked;
    Token end;
  };
  Piece pieceAt(const KeyRun& run, Token place) const {
    if (isByLine_) {
      const Token first = place / atOnce_ * atOnce_, end = first + atOnce_;
      return {run.within(intersect({first, end}, run.places)), end};
    }
    // Whole pieces are asked, as heads do that tell each other.
    const Token token = run.token(place), first = token / atOnce_ * atOnce_, end = first + atOnce_;
    return {KeyRun{intersect({first, end}, {0, sequence_.keys.size()})}, place + ceilDiv(end - token, run.step)};
  }

  template <class Rows>
  RuleEffect effectOn(const Rows& rows, const KeyRun& keys) const {
    RuleEffect effect = RuleEffect::none;
    forEachMask([&](const auto& rule) {
      if (effect != RuleEffect::hidesAll) effect = inTurn(effect, effectOf(rule, rows, keys));
    });
    return effect;
  }
  template <class Rule, class Rows>
  RuleEffect effectOf(const Rule& rule, const Rows& rows, const KeyRun& keys) const {
    RuleEffect effect = RuleEffect::none;
    const void* before = nullptr;
    for (int64_t r = rows.begin; r < rows.begin + rows.size(); ++r) {
      if (r > rows.begin && effect == RuleEffect::some) break;
      withRow(rule, rows.headOf(r), rows.queryOf(r), [&](const auto* row) {
        if (row == before) return;
        before = row;
        int hiding = 0, idle = 0;
        for (Token place = keys.places.begin; place < keys.places.end; ++place) {
          const auto element = row[keys.token(place) * rule.key];
          hiding += rule.hides(element);
          idle += rule.isIdle(element);
        }
        const RuleEffect one = effectOfElements(keys.places.size(), hiding, idle);
        effect = r == rows.begin ? one : together(effect, one);
      });
    }
    return effect;
  }

  const AttentionProblem* problem_ = nullptr;
  Gate gate_;  // present: the rows that it closes are not computed
  Sequence sequence_{};
  Token atOnce_ = 0;  // so many keys are left out together; 0: masks leave out none
  bool isByLine_ = false;
  bool hasMasks_ = false, variesByBatch_ = false, variesByHead_ = false;
};

}  // namespace tilewise
