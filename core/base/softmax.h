// The numerics contract of one attention row: online softmax in base 2, and the merge of partial results.
// Reader: anyone writing a loop or a combine step. Idea: Milakov & Gimelshein 2018; FlashAttention (arXiv 2205.14135).
//
// Scores are kept in log2 units (log2(e) is folded into the scale), lse leaves in natural log. A row that saw no key
// has max = -inf, sum = 0, and finishes as output 0, lse -inf: real infinities, no finite sentinel.
#pragma once

#include <cfloat>
#include <cmath>

#include "number.h"

namespace tilewise {

constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2 = 0.693147180559945309f;

// What is subtracted from the scores of a row: its running max, kept finite so that -inf - max stays -inf, not NaN.
TW_HOST_DEVICE float subtrahend(float max) { return max < -FLT_MAX ? -FLT_MAX : max; }

// An additive bias in log2 units. A finite bias stays finite (finfo.min masks of other libraries overflow to -inf when
// multiplied by log2(e)), because -inf alone means "not visible".
template <class N>
TW_HOST_DEVICE N biasToLog2(N bias) {
  const N scaled = bias * N(kLog2E), lowest(-FLT_MAX);
  return whereLess(scaled, lowest, whereLess(bias, lowest, scaled, lowest), scaled);
}

struct SoftmaxState {
  float max = -INFINITY;  // running maximum of the scores, log2 units
  float sum = 0;          // sum of exp2(score - max)

  // Natural-log LSE of everything the row saw.
  TW_HOST_DEVICE float lse() const { return sum == 0 ? -INFINITY : (max + std::log2(sum)) * kLn2; }
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
  const MergeFactors f{std::exp2(into.max - base), std::exp2(from.max - base)};
  into.max = max;
  into.sum = into.sum * f.into + from.sum * f.from;
  return f;
}

// Finishes a row: returns what its accumulated outputs are multiplied by; state.lse() is final afterwards. A sink logit
// (per head, natural units; may be null) joins here, as a key without a value: gpt-oss, StreamingLLM's learnable sink.
TW_HOST_DEVICE float finishRow(SoftmaxState& state, const float* sink) {
  if (!sink) return state.outputScale();
  SoftmaxState logit;
  logit.max = biasToLog2(*sink);
  logit.sum = 1;
  const float shrink = merge(state, logit).into;
  return shrink * state.outputScale();
}

}  // namespace tilewise
