// 1 / sqrt(x) in a few instructions, to float32's precision. Reader: someone who divides rows by their lengths.
#pragma once

#include "../prims/prims.h"

namespace tilewise::cuda {

// For x > 0 that is not denormal: an approximation, and a step of Newton's.
__device__ __forceinline__ float inverseRoot(float x) {
  const float y = exp2_approx(-0.5f * log2_approx(x));
  return y * (1.5f - 0.5f * x * y * y);
}

}  // namespace tilewise::cuda
