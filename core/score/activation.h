// Activation: what makes a weight of a score: softmax, or a function of the score alone. Reader: someone who follows a
// score behind the rules. Ideas: sigmoid attention (arXiv 2409.04431), relu over the number of keys (arXiv 2309.08586).
//
// A function of the score alone has no maximum, no denominator and no lse: partial results add. Loops keep a softmax's
// state for it all the same, with a maximum of 0 once a row has met keys, so that merge() adds.
#pragma once

#include <cmath>

#include "../base/box.h"
#include "../base/number.h"

namespace tilewise {

enum class ActivationKind : int32_t { softmax, sigmoid, relu };
constexpr ActivationKind kLastActivation = ActivationKind::relu;

struct Activation {
  ActivationKind kind = ActivationKind::softmax;
  bool isBiasOfKeys = false;  // sigmoid: the bias is -ln of the number of the sequence's keys
  float bias = 0;  // sigmoid: else this is added to every score

  TW_HOST_DEVICE bool isSoftmax() const { return kind == ActivationKind::softmax; }
  // For a sequence of so many keys; hidden ones count.
  TW_HOST_DEVICE float biasFor(Token keys) const { return isBiasOfKeys ? -std::log(float(larger(1, keys))) : bias; }
  // What relu multiplies by. Weights have it, not their sums: those of the largest values would be beyond float32.
  TW_HOST_DEVICE static float shareOf(Token keys) { return 1.0f / float(larger(1, keys)); }
};

// The weights of a score; of a hidden one, -inf, they are exactly 0, and NaN stays NaN. exp(x) is asked for x <= 0.
template <class N, class Exp, class Divide>
TW_HOST_DEVICE N sigmoidOf(N score, Exp&& exp, Divide&& divide) {
  const N e = exp(N(0.0f) - absolute(score));
  return divide(whereLess(score, N(0.0f), e, N(1.0f)), e + N(1.0f));
}
template <class N>
TW_HOST_DEVICE N reluOf(N score, N share) {
  return whereLess(score, N(0.0f), N(0.0f), score * share);
}

}  // namespace tilewise
