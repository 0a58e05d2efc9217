// Global memory: the accesses whose width a kernel wants to be sure of. Others are plain C++.
#pragma once

#include "shared.h"

namespace tilewise::cuda {

TW_PRIM uint4 ld_global_128(const void* from) {
  uint4 value;
  asm volatile("ld.global.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from)
               : "memory");
  return value;
}
TW_PRIM void st_global(void* to, uint4 value) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(value.x), "r"(value.y), "r"(value.z),
               "r"(value.w)
               : "memory");
}
TW_PRIM void st_global(float* to, float value) {
  asm volatile("st.global.f32 [%0], %1;" ::"l"(to), "f"(value) : "memory");
}

}  // namespace tilewise::cuda
