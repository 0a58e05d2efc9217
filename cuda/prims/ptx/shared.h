// Shared memory: loads and stores by 32-bit address.
#pragma once

#include "../types.h"

// How every PTX twin is declared.
#define TW_PRIM __device__ __forceinline__

namespace tilewise::cuda {

// 1024: the widest swizzle pattern of TMA and wgmma starts on such a boundary.
extern __shared__ __align__(1024) uint8_t dynamicShared[];

TW_PRIM saddr smem_base() { return uint32_t(__cvta_generic_to_shared(dynamicShared)); }

TW_PRIM void st_shared(saddr to, uint16_t value) {
  asm volatile("st.shared.b16 [%0], %1;" ::"r"(to), "h"(value) : "memory");
}
TW_PRIM void st_shared(saddr to, uint32_t value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}
TW_PRIM void st_shared(saddr to, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(value) : "memory");
}
TW_PRIM void st_shared(saddr to, uint4 value) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x), "r"(value.y), "r"(value.z),
               "r"(value.w)
               : "memory");
}

TW_PRIM uint16_t ld_shared_u16(saddr from) {
  uint16_t value;
  asm volatile("ld.shared.b16 %0, [%1];" : "=h"(value) : "r"(from) : "memory");
  return value;
}
TW_PRIM uint32_t ld_shared_u32(saddr from) {
  uint32_t value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
  return value;
}
TW_PRIM float ld_shared_f32(saddr from) {
  float value;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(from) : "memory");
  return value;
}
TW_PRIM uint4 ld_shared_128(saddr from) {
  uint4 value;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(from)
               : "memory");
  return value;
}

}  // namespace tilewise::cuda
