// Number types: what a formula that is stated once may use, whether its numbers are floats or a processor's vectors.
// Reader: someone who writes a score rule. A number type N has +, -, *, a constructor from float and the functions
// below; here they are for float, in cpu/simd/lanes.inl for vectors.
#pragma once

#include <cfloat>
#include <cmath>

#include "platform.h"

namespace tilewise {

TW_HOST_DEVICE float whereLess(float a, float b, float yes, float no) { return a < b ? yes : no; }
TW_HOST_DEVICE float whereEqual(float a, float b, float yes, float no) { return a == b ? yes : no; }
TW_HOST_DEVICE float absolute(float x) { return std::fabs(x); }

// 0 for finite numbers, NaN for infinities and NaN.
template <class N>
TW_HOST_DEVICE N zeroIfFinite(N x) {
  return x - x;
}
// What rounds to an infinity becomes the largest number of its sign.
template <class N>
TW_HOST_DEVICE N keepFinite(N x) {
  const N lowest(-FLT_MAX), highest(FLT_MAX);
  return whereLess(x, lowest, lowest, whereLess(highest, x, highest, x));
}
TW_HOST_DEVICE bool isFinite(float x) { return zeroIfFinite(x) == 0; }

}  // namespace tilewise
