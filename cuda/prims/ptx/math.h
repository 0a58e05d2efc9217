// Arithmetic that has an instruction of its own, and conversions.
#pragma once

#include "shared.h"

namespace tilewise::cuda {

// Denormal arguments and results count as zero.
TW_PRIM float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
TW_PRIM float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Denormal arguments and results count as zero.
TW_PRIM float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// The other one where one is NaN.
TW_PRIM float max_f32(float a, float b) { return fmaxf(a, b); }

// Rounded to nearest even; `low` in bits 0 to 15.
template <class E>
TW_PRIM uint32_t pack2(float low, float high);
template <>
TW_PRIM uint32_t pack2<bf16>(float low, float high) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
template <>
TW_PRIM uint32_t pack2<f16>(float low, float high) {
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

// Rounded to nearest, ties away from zero, to 10 bits of mantissa.
TW_PRIM uint32_t to_tf32(float x) {
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

}  // namespace tilewise::cuda
