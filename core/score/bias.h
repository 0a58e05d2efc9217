// Bias: a number to add for each query and key, -inf to hide the key (options.bias).
#pragma once

#include "operand.h"

namespace tilewise {

struct Bias : TypedOperand {
  template <class N>
  TW_HOST_DEVICE N addend(N bias) const {
    return bias;
  }
  template <class Element>
  static TW_HOST_DEVICE bool hides(Element element) {
    return isMinusInfinity(element);
  }
  template <class Element>
  static TW_HOST_DEVICE bool isIdle(Element element) {
    return isZero(element);
  }
};

}  // namespace tilewise
