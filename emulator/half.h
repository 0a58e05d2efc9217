// 16-bit and tf32 formats by integer arithmetic: the machine's rounding, with no instruction set of the host involved.
// Reader: whoever checks pack2, to_tf32 or mma.
#pragma once

#include <cstdint>
#include <cstring>

namespace tilewise::emulator {

inline uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline float fromBf16(uint16_t half) { return floatOf(uint32_t(half) << 16); }
inline float fromF16(uint16_t half) {
  // The exponent's bias is mended by a multiplication, which is exact for denormals too.
  uint32_t bits = bitsOf(floatOf(uint32_t(half & 0x7fff) << 13) * 0x1p112f);
  if ((half & 0x7c00) == 0x7c00) bits |= 0x7f800000;
  return floatOf(bits | uint32_t(half & 0x8000) << 16);
}

inline uint16_t toBf16(float x) {
  const uint32_t bits = bitsOf(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline uint16_t toF16(float x) {
  const uint32_t bits = bitsOf(x), magnitude = bits & 0x7fffffff;
  const uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  if (magnitude > 0x7f800000) return 0x7fff;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // A denormal: adding a half puts its last bit where float32 rounds.
    return sign | uint16_t(bitsOf(floatOf(magnitude) + 0.5f) - 0x3f000000);
  }
  return sign | uint16_t((magnitude + 0xc8000fff + (magnitude >> 13 & 1)) >> 13);
}

// Ties away from zero; NaN and infinity stay what they are.
inline uint32_t toTf32(float x) {
  const uint32_t bits = bitsOf(x);
  if ((bits & 0x7f800000) == 0x7f800000) return (bits & 0x7fffff) ? 0x7fffffff : bits;
  return (bits + 0x1000) & 0xffffe000;
}

}  // namespace tilewise::emulator
