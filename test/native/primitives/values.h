// Small whole numbers, exact in every format, so that sums have one right answer whatever the order.
// Reader: the tests of products.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../../../core/base/dtype.h"
#include "host.h"

namespace tilewise::cuda::conformance {

using tilewise::detail::bitsOf;
using tilewise::detail::floatOfBits;

// -4 to 4.
inline int element(int row, int column) { return (row * 7 + column * 13 + row * column % 5) % 9 - 4; }

template <class E>
uint32_t half(int value) {
  const uint32_t bits = bitsOf(float(value));
  if (std::is_same_v<E, bf16>) return bits >> 16;
  if (value == 0) return 0;
  return (bits >> 16 & 0x8000) | ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 1023);
}
template <class E>
uint32_t halves(int low, int high) {
  return half<E>(low) | half<E>(high) << 16;
}

template <class E>
constexpr const char* nameOf() {
  return std::is_same_v<E, bf16> ? "bf16" : "f16";
}

}  // namespace tilewise::cuda::conformance
