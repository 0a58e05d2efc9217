// Mask: hides the keys whose byte is 0 (options.mask).
#pragma once

#include "operand.h"

namespace tilewise {

struct Mask : ScoreOperand {
  static constexpr bool kHasType = false;

  template <class Visit>
  TW_HOST_DEVICE void withReader(Visit&& visit) const {
    visit(readerOf(static_cast<const uint8_t*>(data.data)));
  }
  template <class N>
  TW_HOST_DEVICE N addend(N byte) const {
    return whereEqual(byte, N(0.0f), N(kHidden), N(0.0f));
  }
  static TW_HOST_DEVICE bool hides(uint8_t byte) { return byte == 0; }
  static TW_HOST_DEVICE bool isIdle(uint8_t byte) { return byte != 0; }
  template <class Visit>
  void operand(const ScoreShape& shape, Visit&& visit) {
    operandOf(1, shape, visit);
  }
};

}  // namespace tilewise
