// What a score rule does to a set of scores as a whole. Reader: someone who writes a loop: what a rule hides for all is
// not computed, and where it changes nothing the loop runs as if there were no rule. Exporters write causal and padding
// structure as masks of ones and zeros, or as biases of 0 and -inf.
#pragma once

#include "rules.h"

namespace tilewise {

// Whether a rule's effect is found by looking at the values that it reads. What the others add is seldom 0.
template <class Rule>
TW_HOST_DEVICE constexpr bool hasVisibleEffect() {
  if constexpr (Rule::kReads) {
    return Rule::kCoversAll;
  } else {
    return false;
  }
}

enum class RuleEffect { none, some, hidesAll };

// Of one rule on two sets of scores, taken together.
TW_HOST_DEVICE RuleEffect together(RuleEffect a, RuleEffect b) { return a == b ? a : RuleEffect::some; }

// Of two rules, one after the other, on the same scores.
TW_HOST_DEVICE RuleEffect inTurn(RuleEffect a, RuleEffect b) {
  if (a == RuleEffect::hidesAll || b == RuleEffect::hidesAll) return RuleEffect::hidesAll;
  return a == RuleEffect::none ? b : RuleEffect::some;
}

// Of `count` elements, so many of which hide and so many of which are idle.
TW_HOST_DEVICE RuleEffect effectOfElements(int count, int hiding, int idle) {
  return idle == count ? RuleEffect::none : hiding == count ? RuleEffect::hidesAll : RuleEffect::some;
}

}  // namespace tilewise
