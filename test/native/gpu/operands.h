// Operands of random layouts: plain rows, rows off their boundary, dims apart, tokens backwards, one batch for all.
// NaN is between their elements, which nothing may use. Reader: the checks beside it.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "../../../core/op/attention.h"
#include "device.h"

namespace tilewise {

struct OperandShape {
  int32_t batch, tokens, heads, dim;
};

// An operand and the bytes it points into, which end where its last element ends.
struct OwnOperand {
  Operand operand;
  std::vector<uint8_t> bytes;
  int64_t origin = 0;  // bytes before the operand's element 0
  OperandShape shape{};
  DType dtype{};

  Operand on(void* data) const {
    Operand o = operand;
    o.data = static_cast<uint8_t*>(data) + origin;
    return o;
  }
  Operand here() { return on(bytes.data()); }

  void set(int64_t at, float x) {
    const uint16_t half = dtype == DType::float16 ? toFloat16(x) : toBfloat16(x);
    std::memcpy(bytes.data() + at, dtype == DType::float32 ? static_cast<const void*>(&x) : &half,
                size_t(sizeOf(dtype)));
  }
  int64_t at(int32_t b, int32_t t, int32_t h, int32_t d) const {
    return origin + (operand.offset(b, t, h) + d * operand.dim) * sizeOf(dtype);
  }
  float get(int32_t b, int32_t t, int32_t h, int32_t d) const {
    const uint8_t* const from = bytes.data() + at(b, t, h, d);
    float x;
    uint16_t half;
    if (dtype == DType::float32) return std::memcpy(&x, from, sizeof x), x;
    std::memcpy(&half, from, sizeof half);
    return dtype == DType::float16 ? fromFloat16(half) : fromBfloat16(half);
  }
};

// A number that conversions to 16 bits treat apart: not finite, about the largest of a type, subnormal, or less.
inline float unusual(Pick& pick) {
  const float numbers[] = {NAN,           detail::floatOfBits(0xffe9b1c3),
                           INFINITY,      -INFINITY,
                           65504.0f,      65519.0f,
                           -65520.0f,     3.4e38f,
                           0x1p-14f,      -0.0f,
                           -0x1.ffcp-15f, 0x1.8p-24f,
                           0x1p-25f,      -0x1.4p-25f,
                           -0x1p-40f};
  return pick.of(numbers);
}

// All elements are `number()`.
template <class Number>
OwnOperand makeOperand(Pick& pick, const OperandShape& shape, DType dtype, bool isWritten, Number&& number) {
  OwnOperand o;
  o.shape = shape;
  o.dtype = dtype;
  int64_t gap = 0, first = 0, dim = 1;
  switch (pick(6)) {
    case 0: gap = shape.dim % 8 == 0 ? 3 : 8 - shape.dim % 8; break;  // aligned rows whose last piece is not full
    case 1: first = 5; break;
    case 2: dim = 2; break;
    case 3: gap = 8; break;
  }
  const int64_t row = shape.dim * dim + gap, rows = int64_t(shape.batch) * shape.tokens * shape.heads;
  o.operand = pick(2) ? Operand{nullptr, row * shape.tokens * shape.heads, row, row * shape.tokens, dim}
                      : Operand{nullptr, row * shape.tokens * shape.heads, row * shape.heads, row, dim};
  int64_t elements = first + rows * row;
  if (pick(8) == 0) {  // dims outermost
    o.operand = {nullptr, int64_t(shape.tokens) * shape.heads, shape.heads, 1, rows};
    elements = first + rows * shape.dim;
  }
  if (!isWritten && pick(8) == 0) o.operand.batch = 0;
  if (pick(8) == 0 && shape.tokens > 0) {
    first += o.operand.token * (shape.tokens - 1);
    o.operand.token = -o.operand.token;
  }
  o.origin = first * sizeOf(dtype);
  o.bytes.assign(size_t(elements * sizeOf(dtype)), 0xff);
  for (int32_t b = 0; b < shape.batch; ++b)
    for (int32_t t = 0; t < shape.tokens; ++t)
      for (int32_t h = 0; h < shape.heads; ++h)
        for (int32_t d = 0; d < shape.dim; ++d) o.set(o.at(b, t, h, d), number());
  return o;
}

}  // namespace tilewise
