// Tests of a number. Reader: someone who sums values that may be NaN or infinite.
#pragma once

#include "platform.h"

namespace tilewise {

// x - x is 0 for finite numbers, NaN for infinities and NaN.
TW_HOST_DEVICE bool isFinite(float x) { return x - x == 0; }

}  // namespace tilewise
