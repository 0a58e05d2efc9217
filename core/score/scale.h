// ScoreScale: how the product of a query and a key becomes a score: scale, and softcap * tanh(score / softcap).
// Reader: someone who follows a score through a loop. Both come before all other rules. Idea: Gemma 2 (arXiv
// 2408.00118).
#pragma once

#include "../base/softmax.h"

namespace tilewise {

// A score is factor * product, or factor * tanh(inCap * product) with a softcap.
struct ScoreScale {
  float inCap;  // 0: no softcap
  float factor;
  // Softmax may multiply by the factor in exp2's argument, at no cost. Not where the scores are
  // asked for as they are, nor where the factor is not positive: the maximum of scores is then no maximum of products.
  bool canWait;
  // For loops that let the factor wait: what makes a score of the maximum, and what exp2's argument is multiplied by.
  float ofMaximum, inSoftmax;

  ScoreScale() = default;
  // softcap 0: none. A scale of 0 needs none: its scores are 0 with or without.
  TW_HOST_DEVICE ScoreScale(float scale, float softcap, bool areScoresAsked)
      : inCap(softcap > 0 ? keepFinite(scale / softcap) : 0),
        factor(inCap != 0 ? softcap : scale),
        canWait(!areScoresAsked && factor > 0 && isFinite(factor * kLog2E)),
        ofMaximum(canWait ? factor : 1.0f),
        inSoftmax(ofMaximum * kLog2E) {}

  TW_HOST_DEVICE bool hasCap() const { return inCap != 0; }
  TW_HOST_DEVICE bool isNone() const { return !hasCap() && factor == 1; }
};

// The part of the scale by which a loop may multiply the queries, once, instead of the products. A larger one could
// make infinity of a query whose score is finite.
TW_HOST_DEVICE float scaleOfQueries(float scale) { return std::fabs(scale) <= 1 ? scale : 1.0f; }
// What is then left for the products.
TW_HOST_DEVICE float scaleAfterQueries(float scale) { return std::fabs(scale) <= 1 ? 1.0f : scale; }

}  // namespace tilewise
