// RowPiece: 16 bytes of a row of any element type in a thread's registers, for kernels that are bound by memory.
// Reader: someone who writes one. Aligned rows are moved whole; others, and the ends of rows, an element at a time.
#pragma once

#include "../../core/base/dtype.h"
#include "../prims/prims.h"

namespace tilewise::cuda {

// This thread in its block, computed where it is asked for: what is computed of it stays in registers through a loop
// over tiles else, and kernels spill. All lanes of the warp call this.
__device__ __forceinline__ int ownThread() { return warp_id() * 32 + lane_id(); }

// 16 bytes of a row, or what is left of it.
template <class E>
struct RowPiece {
  static constexpr int kCount = 16 / int(sizeof(E));
  union {
    uint4 whole;
    E element[kCount];
  };

  __device__ __forceinline__ RowPiece() : whole{0, 0, 0, 0} {}

  __device__ __forceinline__ void load(const E* from, int64_t stride, int count, bool isAligned) {
    if (isAligned && count == kCount) {
      whole = ld_global_128(from);
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (i < count) element[i] = from[i * stride];
    }
  }
  __device__ __forceinline__ void store(E* to, int64_t stride, int count, bool isAligned) const {
    if (isAligned && count == kCount) return st_global(to, whole);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (i < count) to[i * stride] = element[i];
    }
  }

  static __device__ __forceinline__ float numberOf(float x) { return x; }
  static __device__ __forceinline__ float numberOf(f16 x) { return fromFloat16(x.bits); }
  static __device__ __forceinline__ float numberOf(bf16 x) { return fromBfloat16(x.bits); }
  static __device__ __forceinline__ void round(float x, float& to) { to = x; }
  static __device__ __forceinline__ void round(float x, f16& to) { to.bits = toFloat16(x); }
  static __device__ __forceinline__ void round(float x, bf16& to) { to.bits = toBfloat16(x); }
};

}  // namespace tilewise::cuda
