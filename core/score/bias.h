// Bias: a number to add for each query and key, -inf to hide the key (options.bias).
#pragma once

#include "../base/dtype.h"
#include "operand.h"

namespace tilewise {

struct Bias : ScoreOperand {
  DType dtype = DType::float32;

  static constexpr bool kHasType = true;

  template <class Visit>
  TW_HOST_DEVICE void withReader(Visit&& visit) const {
    withElementType(dtype, [&](auto* element) { visit(readerOf(static_cast<decltype(element)>(data.data))); });
  }
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
  template <class Visit>
  void operand(const ScoreShape& shape, Visit&& visit) {
    operandOf(sizeOf(dtype), shape, visit);
  }
};

}  // namespace tilewise
