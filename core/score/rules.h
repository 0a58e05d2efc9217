// The score rules of a problem, in the order in which they apply. Reader: someone who adds one: a line of the list
// below. Loops, staging and the binding go through the list.
#pragma once

#include "alibi_slopes.h"
#include "bias.h"
#include "key_mask.h"
#include "mask.h"
#include "relative_bias.h"

namespace tilewise {

// X(type, name, ...): the name is that of the public option. What hides keys is first: the others are not read then.
#define TW_SCORE_RULES(X, ...)               \
  X(Mask, mask, __VA_ARGS__)                 \
  X(KeyMask, keyMask, __VA_ARGS__)           \
  X(Bias, bias, __VA_ARGS__)                 \
  X(RelativeBias, relativeBias, __VA_ARGS__) \
  X(AlibiSlopes, alibiSlopes, __VA_ARGS__)

struct ScoreRules {
#define TW_MEMBER(Rule, name, ...) Rule name;
  TW_SCORE_RULES(TW_MEMBER)
#undef TW_MEMBER

#define TW_VISIT(Rule, name, ...) visit(name);
  template <class Visit>
  TW_HOST_DEVICE void forEach(Visit&& visit) {
    TW_SCORE_RULES(TW_VISIT)
  }
  template <class Visit>
  TW_HOST_DEVICE void forEach(Visit&& visit) const {TW_SCORE_RULES(TW_VISIT)}
#undef TW_VISIT

  // Whether what the rules read does not depend on the head.
  TW_HOST_DEVICE bool areSameForHeads() const {
    bool areSame = true;
    forEach([&](const auto& rule) { areSame = areSame && (!rule.isPresent() || rule.head == 0); });
    return areSame;
  }

  TW_HOST_DEVICE bool areAny() const {
#define TW_OR_PRESENT(Rule, name, ...) || name.isPresent()
    return false TW_SCORE_RULES(TW_OR_PRESENT);
#undef TW_OR_PRESENT
  }
};

// What the rules know of `Width` queries.
template <int Width>
struct RuleRows {
#define TW_ROWS(Rule, name, ...) typename Rule::Row name[Width];
  TW_SCORE_RULES(TW_ROWS)
#undef TW_ROWS

  TW_HOST_DEVICE void set(int i, const ScoreRules& rules, const ScoreQuery& query) {
#define TW_SET(Rule, name, ...) \
  if (rules.name.isPresent()) name[i] = rules.name.row(query);
    TW_SCORE_RULES(TW_SET)
#undef TW_SET
  }

  // Calls visit(rule, its rows) for the rules in use.
  template <class Visit>
  TW_HOST_DEVICE void forEach(const ScoreRules& rules, Visit&& visit) const {
#define TW_VISIT(Rule, name, ...) \
  if (rules.name.isPresent()) visit(rules.name, name);
    TW_SCORE_RULES(TW_VISIT)
#undef TW_VISIT
  }
};

}  // namespace tilewise
