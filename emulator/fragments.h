// Which lane of a warp holds which elements of a matrix, and the product itself.
// PTX ISA, "Matrix fragments for mma.m16n8k16" and "Register fragments" of wgmma, which agree.
// Reader: matrix_multiply.cc and wgmma.cc.
#pragma once

#include <cstdint>
#include <cstring>

#include "half.h"
#include "operations.h"

namespace tilewise::emulator {

constexpr uint32_t kFragmentRows = 16;
constexpr uint32_t kDepth = 16;

// Register r of an accumulator with 16 rows.
inline uint32_t accumulatorRow(uint32_t lane, uint32_t r) { return lane / 4 + 8 * (r / 2 % 2); }
inline uint32_t accumulatorColumn(uint32_t lane, uint32_t r) { return 8 * (r / 4) + lane % 4 * 2 + r % 2; }

template <Element E>
inline float widen(uint16_t half) {
  return E == Element::bf16 ? fromBf16(half) : fromF16(half);
}
template <Element E>
inline void widenPair(float* to, uint32_t pair) {
  to[0] = widen<E>(uint16_t(pair));
  to[1] = widen<E>(uint16_t(pair >> 16));
}

// One lane's part of a, 16 x 16.
template <Element E>
inline void unpackA(float* a, uint32_t lane, const uint32_t* registers) {
  float* first = a + lane / 4 * kDepth + lane % 4 * 2;
  widenPair<E>(first, registers[0]);
  widenPair<E>(first + 8 * kDepth, registers[1]);
  widenPair<E>(first + 8, registers[2]);
  widenPair<E>(first + 8 * kDepth + 8, registers[3]);
}

// c (16 x columns) += a (16 x depth) * b (depth x columns), sums in order of k, in float32 where tensor cores carry a
// few bits more or less. Columns are a multiple of 8, depth is 8 or 16.
void accumulate(float* c, const float* a, const float* b, uint32_t columns, uint32_t depth);

}  // namespace tilewise::emulator
