// The numerics contract of one attention row: online softmax, and the merge of partial results.
// Reader: anyone writing a loop or a combine step. Idea: Milakov & Gimelshein 2018; FlashAttention (arXiv 2205.14135).
//
// Scores, what is added to them, sinks, maxima and lse are natural logarithms on every floor: what comes in finite
// stays finite. Processors exponentiate in base 2, and log2(e) multiplies differences alone: a score of 2.4e38 times
// log2(e) is beyond float32. A row that saw no key has max = -inf, sum = 0, and finishes as output 0, lse -inf: real
// infinities, no finite sentinel.
#pragma once

#include <cfloat>
#include <cmath>

#include "number.h"

namespace tilewise {

constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2 = 0.693147180559945309f;

// What is subtracted from the scores of a row: its running max, kept finite so that -inf - max stays -inf, not NaN.
TW_HOST_DEVICE float subtrahend(float max) { return max < -FLT_MAX ? -FLT_MAX : max; }

// The weight of a score in a row from which `base` is subtracted.
TW_HOST_DEVICE float weightOf(float score, float base) { return std::exp2((score - base) * kLog2E); }

struct SoftmaxState {
  float max = -INFINITY;  // running maximum of the scores
  float sum = 0;          // sum of exp(score - max)

  // The log-sum-exp of everything the row saw.
  TW_HOST_DEVICE float lse() const { return sum == 0 ? -INFINITY : max + std::log2(sum) * kLn2; }
  TW_HOST_DEVICE float outputScale() const { return sum == 0 ? 0.0f : 1.0f / sum; }
};

// Factors by which two partial rows' accumulators are scaled when they become one; `into` becomes the merged state.
// Merging in a fixed order makes split results deterministic.
struct MergeFactors {
  float into;
  float from;
};
TW_HOST_DEVICE MergeFactors merge(SoftmaxState& into, const SoftmaxState& from) {
  const float max = larger(into.max, from.max);
  const float base = subtrahend(max);
  const MergeFactors f{weightOf(into.max, base), weightOf(from.max, base)};
  into.max = max;
  into.sum = into.sum * f.into + from.sum * f.from;
  return f;
}

// The state of a finished row of which lse is known. An lse of either infinity is that of a row that saw no key: +inf
// is how flash-attention 2 says so.
TW_HOST_DEVICE SoftmaxState stateOfLse(float lse) {
  SoftmaxState state;
  if (std::fabs(lse) == INFINITY) return state;
  state.max = lse;
  state.sum = 1;
  return state;
}

// Finishes a row: returns what its accumulated outputs are multiplied by; state.lse() is final afterwards. A sink logit
// (per head; may be null) joins here, as a key without a value: gpt-oss, StreamingLLM's learnable sink. -inf is none,
// +inf takes all the weight.
TW_HOST_DEVICE float finishRow(SoftmaxState& state, const float* sink) {
  if (!sink) return state.outputScale();
  SoftmaxState logit;
  logit.max = *sink;
  logit.sum = 1;
  if (logit.max == INFINITY) {
    state = logit;
    return 0;
  }
  const float shrink = merge(state, logit).into;
  return shrink * state.outputScale();
}

}  // namespace tilewise
