// OnlineSoftmax: running maxima and sums of a warp's rows. Reader: someone who reads the loop. The rule is that of
// core/base/softmax.h. Idea: Milakov & Gimelshein (arXiv 1805.02867).
#pragma once

#include "../../core/base/softmax.h"
#include "../../core/score/activation.h"
#include "../tiles/register_tile.h"

namespace tilewise::cuda {

template <int Slots>
struct OnlineSoftmax {
  float max[Slots];  // of scores as they are, before the factor that waits (ScoreScale)
  float sum[Slots];  // of this lane's columns until finish()

  __device__ __forceinline__ OnlineSoftmax() {
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
      max[slot] = -INFINITY;
      sum[slot] = 0;
    }
  }

  struct OwnKeys {
    __device__ __forceinline__ void operator()(float (&)[Slots]) const {}
  };
  // Scores become weights, exp2(factor * (score - max)). Earlier outputs must be multiplied by `rescale`. join(maxima)
  // makes the warp's maxima those of all warps that share rows.
  template <int RowTiles, int Keys, class Join = OwnKeys>
  __device__ __forceinline__ void step(RegisterTile<RowTiles, Keys>& scores, float factor, float (&rescale)[Slots],
                                       Join&& join = {}) {
    float newMax[Slots];
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) newMax[slot] = max[slot];
    scores.forEach([&](float& s, int slot, int, int) { newMax[slot] = max_f32(newMax[slot], s); });
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) newMax[slot] = quadMax(newMax[slot]);
    join(newMax);
    float base[Slots];
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
      // Finite also for a row that sees no key: -inf minus -inf would be NaN.
      base[slot] = newMax[slot] == -INFINITY ? 0 : newMax[slot] * factor;
      rescale[slot] = exp2_approx(max[slot] * factor - base[slot]);
    }
    bool isFar = false;
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) isFar |= !(fabsf(base[slot]) <= FLT_MAX);
    if (isFar) bringNear(scores, newMax, factor, base, rescale);
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
      max[slot] = newMax[slot];
      sum[slot] *= rescale[slot];
    }
    scores.forEach([&](float& s, int slot, int, int) {
      s = exp2_approx(s * factor - base[slot]);
      sum[slot] += s;
    });
  }

  // The same of another activation, for a sequence of so many keys: weights are functions of their scores alone.
  template <int RowTiles, int Keys>
  __device__ __forceinline__ void activate(RegisterTile<RowTiles, Keys>& scores, const Activation& activation,
                                           Token keys, float (&rescale)[Slots]) {
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
      rescale[slot] = 1;
      max[slot] = 0;
    }
    if (activation.kind == ActivationKind::relu) {
      const float share = Activation::shareOf(keys);
      scores.forEach([&](float& s, int, int, int) { s = reluOf(s, share); });
      return;
    }
    const float bias = activation.biasFor(keys);
    scores.forEach([&](float& s, int, int, int) {
      s = sigmoidOf(
          s + bias, [](float x) { return exp2_approx(x * kLog2E); },
          [](float a, float b) { return a * reciprocal_approx(b); });
    });
  }

  // The state of a row once all keys have been seen; `factor` makes a score of its maximum.
  __device__ __forceinline__ SoftmaxState finish(int slot, float factor) const {
    SoftmaxState state;
    state.max = max[slot] * factor;
    state.sum = quadSum(sum[slot]);
    return state;
  }

 private:
  // Scores beyond 2.36e38 times log2(e) are no float32 number: the maximum is then subtracted first. Rare, so each
  // score costs nothing elsewhere.
  template <int RowTiles, int Keys>
  __device__ __forceinline__ void bringNear(RegisterTile<RowTiles, Keys>& scores, const float (&newMax)[Slots],
                                            float factor, float (&base)[Slots], float (&rescale)[Slots]) const {
    float shift[Slots];
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
      const bool isFar = !(fabsf(base[slot]) <= FLT_MAX);
      shift[slot] = isFar ? newMax[slot] : 0;
      if (!isFar) continue;
      base[slot] = 0;
      rescale[slot] = exp2_approx((max[slot] - newMax[slot]) * factor);
    }
    scores.forEach([&](float& s, int slot, int, int) { s -= shift[slot]; });
  }
};

}  // namespace tilewise::cuda
