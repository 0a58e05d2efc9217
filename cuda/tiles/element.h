// Element types: how tiles of each are read, written and checked for NaN. Reader: someone who adds an element type; its
// products are in mma.h.
#pragma once

#include "../../core/base/dtype.h"
#include "../prims/prims.h"

namespace tilewise::cuda {

template <class E>
struct Element;

template <>
struct Element<float> {
  static constexpr DType kType = DType::float32;
  using Bits = float;
  static constexpr uint32_t kExponent = 0x7f800000;  // all ones in NaN and infinity
  static __device__ __forceinline__ float toFloat(float x) { return x; }
  static __device__ __forceinline__ float fromFloat(float x) { return x; }
  static __device__ __forceinline__ float loadBits(saddr at) { return ld_shared_f32(at); }
  static __device__ __forceinline__ float load(saddr at) { return ld_shared_f32(at); }
  // Two neighbouring elements.
  static __device__ __forceinline__ void store(saddr at, float x, float y) {
    st_shared(at, x);
    st_shared(at + 4, y);
  }
};

template <class E>
struct HalfElement {
  using Bits = uint16_t;
  static __device__ __forceinline__ uint16_t loadBits(saddr at) { return ld_shared_u16(at); }
  static __device__ __forceinline__ void store(saddr at, float x, float y) { st_shared(at, pack2<E>(x, y)); }
};
template <>
struct Element<f16> : HalfElement<f16> {
  static constexpr DType kType = DType::float16;
  static constexpr uint32_t kExponent = 0x7c007c00;
  static __device__ __forceinline__ float toFloat(uint16_t x) { return fromFloat16(x); }
  static __device__ __forceinline__ uint16_t fromFloat(float x) { return toFloat16(x); }
  static __device__ __forceinline__ float load(saddr at) { return fromFloat16(ld_shared_u16(at)); }
};
template <>
struct Element<bf16> : HalfElement<bf16> {
  static constexpr DType kType = DType::bfloat16;
  static constexpr uint32_t kExponent = 0x7f807f80;
  static __device__ __forceinline__ float toFloat(uint16_t x) { return fromBfloat16(x); }
  static __device__ __forceinline__ uint16_t fromFloat(float x) { return toBfloat16(x); }
  static __device__ __forceinline__ float load(saddr at) { return fromBfloat16(ld_shared_u16(at)); }
};

// Whether a word of one or two elements has NaN or infinity.
template <class E>
__device__ __forceinline__ bool hasNonFinite(uint32_t word) {
  constexpr uint32_t kLow = Element<E>::kExponent & 0xffff, kHigh = Element<E>::kExponent & 0xffff0000;
  return (word & kHigh) == kHigh || (sizeof(E) == 2 && (word & kLow) == kLow);
}

}  // namespace tilewise::cuda
