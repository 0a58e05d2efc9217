// Storage types. Arithmetic is float32 on every backend; these say only how a number is kept in memory.
// Reader: anyone who loads or stores tensor elements.
#pragma once

#include "platform.h"

namespace tilewise {

enum class DType : int32_t { float32 = 0, float16 = 1, bfloat16 = 2 };

TW_HOST_DEVICE int64_t sizeOf(DType type) { return type == DType::float32 ? 4 : 2; }

namespace detail {
TW_HOST_DEVICE float floatOfBits(uint32_t bits) {
  union {
    uint32_t u;
    float f;
  } x{bits};
  return x.f;
}
TW_HOST_DEVICE uint32_t bitsOf(float value) {
  union {
    float f;
    uint32_t u;
  } x{value};
  return x.u;
}
}  // namespace detail

TW_HOST_DEVICE float fromBfloat16(uint16_t bits) { return detail::floatOfBits(uint32_t(bits) << 16); }

// Round to nearest even. NaN keeps its upper bits and is made quiet: plain rounding could carry it into infinity.
TW_HOST_DEVICE uint16_t toBfloat16(float value) {
  const uint32_t bits = detail::bitsOf(value);
  if (value != value) return uint16_t((bits >> 16) | 0x40);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

TW_HOST_DEVICE float fromFloat16(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
  if (magnitude >= 0x7c00) return detail::floatOfBits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude < 0x0400) {  // subnormal: magnitude counts units of 2^-24
    const float value = float(magnitude) * 0x1p-24f;
    return sign ? -value : value;
  }
  return detail::floatOfBits(sign | ((magnitude << 13) + 0x38000000));
}

TW_HOST_DEVICE uint16_t toFloat16(float value) {
  const uint32_t bits = detail::bitsOf(value), magnitude = bits & 0x7fffffff;
  const uint16_t sign = uint16_t((bits >> 16) & 0x8000);
  if (magnitude > 0x7f800000) return uint16_t(sign | 0x7e00 | ((magnitude >> 13) & 0x1ff));
  if (magnitude >= 0x477ff000) return uint16_t(sign | 0x7c00);  // 65520 and above round to infinity
  if (magnitude < 0x38800000) {                                 // below 2^-14: let the float adder round to 2^-24
    const float units = detail::floatOfBits(magnitude) + 0.5f;
    return uint16_t(sign | (detail::bitsOf(units) - 0x3f000000));
  }
  return uint16_t(sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13));
}

// The storage types as C++ types: what a pointer to elements points to. Bytes are those of masks.
struct Float16 {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};
TW_HOST_DEVICE float toFloat(float x) { return x; }
TW_HOST_DEVICE float toFloat(Float16 x) { return fromFloat16(x.bits); }
TW_HOST_DEVICE float toFloat(Bfloat16 x) { return fromBfloat16(x.bits); }
TW_HOST_DEVICE float toFloat(uint8_t x) { return float(x); }

TW_HOST_DEVICE void roundTo(float& to, float x) { to = x; }
TW_HOST_DEVICE void roundTo(Float16& to, float x) { to.bits = toFloat16(x); }
TW_HOST_DEVICE void roundTo(Bfloat16& to, float x) { to.bits = toBfloat16(x); }

TW_HOST_DEVICE bool isZero(float x) { return x == 0; }
TW_HOST_DEVICE bool isZero(Float16 x) { return (x.bits & 0x7fff) == 0; }
TW_HOST_DEVICE bool isZero(Bfloat16 x) { return (x.bits & 0x7fff) == 0; }
TW_HOST_DEVICE bool isMinusInfinity(float x) { return detail::bitsOf(x) == 0xff800000; }
TW_HOST_DEVICE bool isMinusInfinity(Float16 x) { return x.bits == 0xfc00; }
TW_HOST_DEVICE bool isMinusInfinity(Bfloat16 x) { return x.bits == 0xff80; }

// Calls f with a null pointer to the element type.
template <class F>
TW_HOST_DEVICE void withElementType(DType type, F&& f) {
  switch (type) {
    case DType::float32: return f(static_cast<const float*>(nullptr));
    case DType::float16: return f(static_cast<const Float16*>(nullptr));
    case DType::bfloat16: return f(static_cast<const Bfloat16*>(nullptr));
  }
}

// Elements as floats, by index.
template <class Element>
struct ElementReader {
  const Element* data;

  TW_HOST_DEVICE float operator()(int64_t at) const { return toFloat(data[at]); }
};
template <class Element>
TW_HOST_DEVICE ElementReader<Element> readerOf(const Element* data) {
  return {data};
}

inline const char* nameOf(DType type) {
  switch (type) {
    case DType::float32: return "float32";
    case DType::float16: return "float16";
    case DType::bfloat16: return "bfloat16";
  }
  return "unknown";
}

}  // namespace tilewise
