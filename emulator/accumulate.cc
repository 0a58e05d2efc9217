// The inner loop of every emulated product: compiled for AVX2 too, and chosen when the program starts.
#include "fragments.h"

namespace tilewise::emulator {
namespace {

typedef float Vector __attribute__((vector_size(32), aligned(4)));
constexpr uint32_t kVector = 8;
constexpr uint32_t kRowsAtOnce = 4;

template <uint32_t Depth>
inline __attribute__((always_inline)) void accumulateDepth(float* c, const float* a, const float* b, uint32_t columns) {
  for (uint32_t j = 0; j < columns; j += kVector) {
    for (uint32_t i = 0; i < kFragmentRows; i += kRowsAtOnce) {
      Vector sums[kRowsAtOnce];
      for (uint32_t r = 0; r < kRowsAtOnce; ++r) std::memcpy(&sums[r], c + (i + r) * columns + j, sizeof(Vector));
#pragma GCC unroll 16
      for (uint32_t k = 0; k < Depth; ++k) {
        Vector row;
        std::memcpy(&row, b + k * columns + j, sizeof row);
        for (uint32_t r = 0; r < kRowsAtOnce; ++r) sums[r] += a[(i + r) * Depth + k] * row;
      }
      for (uint32_t r = 0; r < kRowsAtOnce; ++r) std::memcpy(c + (i + r) * columns + j, &sums[r], sizeof(Vector));
    }
  }
}

}  // namespace

#if defined(__x86_64__)
__attribute__((target_clones("arch=haswell", "default")))
#endif
void accumulate(float* c, const float* a, const float* b, uint32_t columns, uint32_t depth) {
  if (depth == 8) {
    accumulateDepth<8>(c, a, b, columns);
  } else if (columns == 8) {
    accumulateDepth<16>(c, a, b, 8);
  } else if (columns == 16) {
    accumulateDepth<16>(c, a, b, 16);
  } else {
    accumulateDepth<16>(c, a, b, columns);
  }
}

}  // namespace tilewise::emulator
