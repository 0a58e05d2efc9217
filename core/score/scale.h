// ScoreScale: how the product of a query and a key becomes a score: scale, and softcap * tanh(score / softcap).
// Reader: someone who follows a score through a loop. Both come before all other rules. Idea: Gemma 2 (arXiv
// 2408.00118).
#pragma once

#include "../base/softmax.h"

namespace tilewise {

// In log2 units a score is factor * product, or factor * tanh(inCap * product) with a softcap.
struct ScoreScale {
  float inCap;  // 0: no softcap
  float factor;
  // Softmax may multiply by the factor in exp2's argument, at no cost. Not where something is added to the scores, nor
  // where the factor is not positive: the maximum of scores is then no maximum of products.
  bool canWait;
  float inSoftmax;  // for loops that let the factor wait: what softmax multiplies by

  ScoreScale() = default;
  // softcap 0: none. A scale of 0 needs none: its scores are 0 with or without.
  TW_HOST_DEVICE ScoreScale(float scale, float softcap, bool hasAddends)
      : inCap(softcap > 0 ? scale / softcap : 0),
        factor((inCap != 0 ? softcap : scale) * kLog2E),
        canWait(!hasAddends && factor > 0),
        inSoftmax(canWait ? factor : 1.0f) {}

  TW_HOST_DEVICE bool hasCap() const { return inCap != 0; }
  // For loops that scale the queries instead of the products: what multiplies them, and what is left to do.
  TW_HOST_DEVICE float ofQueries() const { return hasCap() ? inCap : factor; }
};

}  // namespace tilewise
