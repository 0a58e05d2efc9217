// Decays of a chunk: summed from its first token on, and as factors to its start and its end.
// Reader: someone who asks how sums stay exact. A sum is two float32 numbers, since its differences are exponents:
// after a decay of -1e5, which forgets everything, those of the tokens that follow still have all their bits.
#pragma once

#include "../../core/base/softmax.h"
#include "../prims/prims.h"
#include "tuning.h"

namespace tilewise::cuda {

struct TwoFloats {
  float high, low;
};
__device__ __forceinline__ TwoFloats sumOf(const TwoFloats& a, const TwoFloats& b) {
  const float high = a.high + b.high, rest = high - a.high;
  const float low = a.low + b.low + ((a.high - (high - rest)) + (b.high - rest));
  const float sum = high + low;
  return {sum, low - (sum - high)};
}
__device__ __forceinline__ float differenceOf(const TwoFloats& a, const TwoFloats& b) {
  return (a.high - b.high) + (a.low - b.low);
}
__device__ __forceinline__ float exponential(float x) { return exp2_approx(x * kLog2E); }

// Floats per row of a chunk, and the chunk's factor, in shared memory. Three arrays are for what an op has of its own.
struct ChunkRows {
  saddr base;
  enum Array { kHigh, kLow, kFromStart, kToEnd, kKept, kFirst, kSecond, kThird, kArrays };
  static_assert(kArrays == kChunkArrays, "the host makes room for as many");

  __device__ __forceinline__ saddr at(Array array, int row) const { return base + (array * kChunkTokens + row) * 4; }
  __device__ __forceinline__ float load(Array array, int row) const { return ld_shared_f32(at(array, row)); }
  __device__ __forceinline__ TwoFloats sum(int row) const { return {load(kHigh, row), load(kLow, row)}; }
};

// All lanes of one warp; others may read after a barrier. `decay(row)` is 0 or less; -Infinity becomes a number whose
// exponential is 0.
template <class Decay>
__device__ __forceinline__ void sumDecays(int n, const ChunkRows& rows, Decay&& decay) {
  const int row = 2 * lane_id();
  const TwoFloats left{row < n ? larger(decay(row), -1e5f) : 0, 0};
  const TwoFloats right{row + 1 < n ? larger(decay(row + 1), -1e5f) : 0, 0};
  TwoFloats sum = sumOf(left, right);
#pragma unroll
  for (int delta = 1; delta < 32; delta *= 2) {
    const int from = larger(lane_id() - delta, 0);
    const TwoFloats before{shfl(sum.high, from), shfl(sum.low, from)};
    const TwoFloats both = sumOf(before, sum);
    if (lane_id() >= delta) sum = both;
  }
  const int from = larger(lane_id() - 1, 0);
  TwoFloats before{shfl(sum.high, from), shfl(sum.low, from)};
  if (lane_id() == 0) before = {0, 0};
  const TwoFloats ofLeft = sumOf(before, left), last{shfl(sum.high, 31), shfl(sum.low, 31)};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const TwoFloats at = i == 0 ? ofLeft : sum;
    st_shared(rows.at(ChunkRows::kHigh, row + i), at.high);
    st_shared(rows.at(ChunkRows::kLow, row + i), at.low);
    st_shared(rows.at(ChunkRows::kFromStart, row + i), exponential(at.high));
    st_shared(rows.at(ChunkRows::kToEnd, row + i), exponential(differenceOf(last, at)));
  }
  if (lane_id() == 0) st_shared(rows.at(ChunkRows::kKept, 0), exponential(last.high));
}

}  // namespace tilewise::cuda
