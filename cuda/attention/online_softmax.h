// OnlineSoftmax: running maxima and sums of a warp's rows. Idea: Milakov & Gimelshein 2018; the rule is
// core/base/softmax.h's. Reader: someone who reads the loop.
#pragma once

#include "../../core/base/softmax.h"
#include "../tiles/register_tile.h"

namespace tilewise::gpu {

template <int Slots>
struct OnlineSoftmax {
  float max[Slots];  // of scores as they are; `left` makes them log2 units
  float sum[Slots];  // of this lane's columns until finish()

  __device__ __forceinline__ OnlineSoftmax() {
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
      max[slot] = -INFINITY;
      sum[slot] = 0;
    }
  }

  // Scores become weights, exp2(left * (score - max)); `rescale` is what earlier outputs shrink by.
  template <int RowTiles, int Keys>
  __device__ __forceinline__ void step(RegisterTile<RowTiles, Keys>& scores, float left, float (&rescale)[Slots]) {
    float most[Slots];
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) most[slot] = max[slot];
    scores.forEach([&](float& s, int slot, int, int) { most[slot] = max_f32(most[slot], s); });
    float base[Slots];
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
      most[slot] = quadMax(most[slot]);
      base[slot] = most[slot] == -INFINITY ? 0 : most[slot] * left;  // a finite subtrahend: -inf stays -inf, not NaN
      rescale[slot] = exp2_approx(max[slot] * left - base[slot]);
      max[slot] = most[slot];
      sum[slot] *= rescale[slot];
    }
    scores.forEach([&](float& s, int slot, int, int) {
      s = exp2_approx(s * left - base[slot]);
      sum[slot] += s;
    });
  }

  // The state of a row once all keys have been seen, in log2 units.
  __device__ __forceinline__ SoftmaxState finish(int slot, float left) const {
    SoftmaxState state;
    state.max = max[slot] * left;
    state.sum = quadSum(sum[slot]);
    return state;
  }
};

}  // namespace tilewise::gpu
