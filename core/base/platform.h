// Host/device markers shared by everything in core.
// Reader: anyone about to write a header here. core compiles as C++17 under g++, clang and nvcc, and includes
// nothing of ours from outside core.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define TW_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
// always_inline: the CPU backend compiles these headers once per instruction set with different -m flags. An
// out-of-line copy could be the one the linker keeps, and then an old processor would run AVX-512 code.
#define TW_HOST_DEVICE inline __attribute__((always_inline))
#else
#define TW_HOST_DEVICE inline
#endif

namespace tilewise {

// A token's index within its sequence. Token counts are limited to kMaxTokens so that index arithmetic with window
// sizes and offsets cannot overflow; memory offsets are always 64-bit.
using Token = int32_t;
constexpr Token kMaxTokens = 1 << 29;

template <class T>
TW_HOST_DEVICE T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
TW_HOST_DEVICE T larger(T a, T b) {
  return a < b ? b : a;
}
template <class T>
TW_HOST_DEVICE T clamp(T x, T low, T high) {
  return smaller(larger(x, low), high);
}
template <class T>
TW_HOST_DEVICE T ceilDiv(T a, T b) {
  return (a + b - 1) / b;
}

}  // namespace tilewise
