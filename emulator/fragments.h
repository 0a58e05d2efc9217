// Which lane of a warp holds which elements of a matrix, and the product itself.
// PTX ISA, "Matrix fragments for mma.m16n8k16" and "Register fragments" of wgmma, which agree.
// Reader: whoever executes them, on either machine of this folder.
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

template <uint32_t Columns>
inline void loadAccumulator(float* c, uint32_t lane, const float* d) {
  float* first = c + lane / 4 * Columns + lane % 4 * 2;
  std::memcpy(first, d, 8);
  std::memcpy(first + 8 * Columns, d + 2, 8);
}
template <uint32_t Columns>
inline void storeAccumulator(float* d, uint32_t lane, const float* c) {
  const float* first = c + lane / 4 * Columns + lane % 4 * 2;
  std::memcpy(d, first, 8);
  std::memcpy(d + 2, first + 8 * Columns, 8);
}

// One lane's part of eight columns of b.
template <Element E, uint32_t Columns>
inline void unpackB(float* b, uint32_t lane, uint32_t b0, uint32_t b1) {
  float low[2], high[2];
  widenPair<E>(low, b0);
  widenPair<E>(high, b1);
  float* first = b + lane % 4 * 2 * Columns + lane / 4;
  first[0] = low[0];
  first[Columns] = low[1];
  first[8 * Columns] = high[0];
  first[9 * Columns] = high[1];
}

constexpr uint32_t kTf32Depth = 8;
// What is not rounded to tf32 gives undefined results, unless it is no number.
inline bool isTf32(uint32_t bits) { return (bits & 0x1fff) == 0 || (bits & 0x7f800000) == 0x7f800000; }
// One lane's part of a, 16 x 8, and of b, 8 x 8.
inline void unpackTf32(float* a, float* b, uint32_t lane, const uint32_t* ofA, const uint32_t* ofB) {
  for (uint32_t r = 0; r < 4; ++r) a[(lane / 4 + 8 * (r % 2)) * kTf32Depth + lane % 4 + 4 * (r / 2)] = floatOf(ofA[r]);
  for (uint32_t r = 0; r < 2; ++r) b[(lane % 4 + 4 * r) * 8 + lane / 4] = floatOf(ofB[r]);
}

// What a lane has of an 8x8 matrix: columns 2 (lane % 4) and the next of row lane / 4, or of the transposed matrix.
inline uint32_t pairOf(const uint16_t* elements, uint32_t lane, bool isTransposed) {
  constexpr uint32_t kRow = 8;
  uint32_t pair;
  if (!isTransposed) {
    std::memcpy(&pair, elements + 2 * lane, sizeof pair);
    return pair;
  }
  const uint16_t* column = elements + lane % 4 * 2 * kRow + lane / 4;
  return column[0] | uint32_t(column[kRow]) << 16;
}

// c (16 x columns) += a (16 x depth) * b (depth x columns), sums in order of k, in float32 where tensor cores carry a
// few bits more or less. Columns are a multiple of 8, depth is 8 or 16.
void accumulate(float* c, const float* a, const float* b, uint32_t columns, uint32_t depth);

}  // namespace tilewise::emulator
