// How far an answer of the tensor cores may be from float64's. Reader: someone who changed a kernel's arithmetic.
#pragma once

#include "../problems.h"

namespace tilewise {

struct Bounds {
  double out, relative, lse;

  bool admit(const Case& c) const { return outError(c, relative) < out && lseError(c) < lse; }
};

// Float32 sums, a few roundings of the scores; and, for 16-bit tensors, storage rounding of the output and weights that
// are rounded to their type before they meet the values, which are at most 2.
inline Bounds tensorCoreBounds(const Case& c) {
  const DType type = c.problem.dtype;
  const double half = type == DType::float32 ? 0 : type == DType::float16 ? 0x1p-12 : 0x1p-9;
  const double lse = 3e-6 + 0x1p-21 * c.largestScore;
  return {c.largestWeights * (lse + 2 * half), type == DType::float32 ? lse : 2 * half, lse};
}

}  // namespace tilewise
