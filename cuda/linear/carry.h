// What groups leave becomes what the groups behind them begin with, a number of a state to a thread.
// Reader: see params.h for slots.
#pragma once

#include "../prims/prims.h"
#include "params.h"

namespace tilewise::cuda {

__device__ __forceinline__ void carryStates(const LinearParams& p) {
  const int64_t i = p.firstCarried + int64_t(block_index()) * kCarryThreads + thread_index();
  if (i >= p.carried) return;
  const int64_t perTask = p.slotFloats() - 1, task = i / perTask, at = i % perTask, inRow = at - p.normalizerAt();
  const bool isState = inRow < 0;
  if (!isState && !p.isNormalized) return;
  const float* const in = isState ? p.stateIn : p.normalizerIn;
  float* const out = isState ? p.state : p.normalizer;
  const int64_t there = isState ? task * p.normalizerAt() + at : task * p.features + inRow;
  float carried = in ? in[there] : 0;
  const bool isLastWanted = !p.isCausal || p.state || p.normalizer;
  for (int32_t group = 0; group < p.groups; ++group) {
    float* const slot = p.slot(task, group);
    const bool isRead = isLastWanted || group + 1 < p.groups;
    const float left = isRead ? slot[at] : 0, kept = isRead ? slot[p.decayAt()] : 0;
    st_global(slot + at, carried);
    carried = fmaf(carried, kept, left);
  }
  if (!p.isCausal) st_global(p.slot(task, p.groups) + at, carried);
  if (out) st_global(out + there, carried);
}

}  // namespace tilewise::cuda
