// The best of a list of scores, by a thread block: how many are above a number is counted until the number is found
// that as many reach as are to be kept. Reader: whoever selects: lists of chunks, keys of a row.
//
// Element i of a list is thread i % kListThreads's in every pass, so that no pass waits for another's memory.
#pragma once

#include "../../core/base/dtype.h"
#include "../prims/prims.h"
#include "best_shape.h"

namespace tilewise::cuda {

// Sums over the thread block, of numbers that the lanes of a warp agree on. Two buffers take turns, so that one barrier
// a sum is enough.
class BlockSums {
 public:
  static constexpr int kMostValues = 3;
  static_assert(kListSharedBytes == 2 * kListWarps * kMostValues * 4, "two buffers of what every warp has");

  // All threads call this with their warp's numbers: `before` is what warps below this one have, `all` everyone.
  template <int kValues>
  __device__ __forceinline__ void add(const int32_t (&own)[kValues], int32_t (&before)[kValues],
                                      int32_t (&all)[kValues]) {
    static_assert(kValues <= kMostValues, "what a buffer has room for");
    const int warp = warp_id();  // here, not below: every lane of the warp takes part in its shuffle
    const saddr buffer = smem_base() + (turn_ ^= 1) * (kListSharedBytes / 2);
#pragma unroll
    for (int v = 0; v < kValues; ++v) {
      if (lane_id() == 0) st_shared(buffer + (warp * kValues + v) * 4, uint32_t(own[v]));
      before[v] = all[v] = 0;
    }
    sync_block();
#pragma unroll
    for (int w = 0; w < kListWarps; ++w)
#pragma unroll
      for (int v = 0; v < kValues; ++v) {
        const int32_t x = int32_t(ld_shared_u32(buffer + (w * kValues + v) * 4));
        before[v] += w < warp ? x : 0;
        all[v] += x;
      }
  }

 private:
  int turn_ = 0;
};

// A score as an integer: ascending as scores ascend, -0 as 0. Never 0: that says "no candidate".
__device__ __forceinline__ uint32_t rankOf(float score) {
  const uint32_t bits = detail::bitsOf(score + 0.0f);
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

// Lanes of the mask below this one.
__device__ __forceinline__ int lanesBelow(uint32_t mask) { return popc(mask & ((1u << lane_id()) - 1)); }

// The number that at least `most` of `count` > `most` ranks reach, and as few more as can be: two bits at a time.
// ranks[i]: a pointer, or what computes them.
template <class Ranks>
__device__ __forceinline__ uint32_t thresholdOf(const Ranks& ranks, int64_t count, int64_t most, BlockSums& sums) {
  uint32_t threshold = 0;
  for (int shift = 30; shift >= 0; shift -= 2) {
    int32_t reach[3] = {0, 0, 0}, before[3], all[3];
    for (int64_t base = 0; base < count; base += kListThreads) {
      const int64_t i = base + thread_index();
      const uint32_t rank = i < count ? ranks[i] : 0;
#pragma unroll
      for (uint32_t digit = 1; digit < 4; ++digit)
        reach[digit - 1] += popc(ballot(rank >= threshold + (digit << shift)));
    }
    sums.add(reach, before, all);
    const uint32_t digit = all[2] >= most ? 3 : all[1] >= most ? 2 : all[0] >= most ? 1 : 0;
    threshold += digit << shift;
  }
  return threshold;
}

// Calls keep(i, place) for the `most` best of `count` ranks, of equals the first; places ascend with i.
template <class Ranks, class Keep>
__device__ __forceinline__ void forEachBest(const Ranks& ranks, int64_t count, int64_t most, BlockSums& sums,
                                            Keep&& keep) {
  if (count <= most) {
    for (int64_t i = thread_index(); i < count; i += kListThreads) keep(i, i);
    return;
  }
  const uint32_t threshold = thresholdOf(ranks, count, most, sums);
  // Above the threshold all are kept; of those that equal it, so many as then are missing.
  int32_t above = 0;
  for (int64_t base = 0; base < count; base += kListThreads) {
    const int64_t i = base + thread_index();
    above += popc(ballot(i < count && ranks[i] > threshold));
  }
  int32_t beforeAbove[1], allAbove[1];
  sums.add({above}, beforeAbove, allAbove);
  const int64_t equals = most - allAbove[0];
  int64_t aboveSoFar = 0, equalSoFar = 0;
  for (int64_t base = 0; base < count; base += kListThreads) {
    const int64_t i = base + thread_index();
    const bool isAbove = i < count && ranks[i] > threshold, isEqual = i < count && ranks[i] == threshold;
    const uint32_t lanesAbove = ballot(isAbove), lanesEqual = ballot(isEqual);
    int32_t before[2], all[2];
    sums.add({popc(lanesAbove), popc(lanesEqual)}, before, all);
    const int64_t a = aboveSoFar + before[0] + lanesBelow(lanesAbove);
    const int64_t e = equalSoFar + before[1] + lanesBelow(lanesEqual);
    if (isAbove || (isEqual && e < equals)) keep(i, a + smaller(e, equals));
    aboveSoFar += all[0];
    equalSoFar += all[1];
  }
}

}  // namespace tilewise::cuda
