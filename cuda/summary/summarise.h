// The largest and the smallest number of a channel over a run of keys, and their mean: a thread has a channel, a block
// 64 of them of a run and a head. Reader: see core/op/summary.h for the rule. Bound by memory.
#pragma once

#include "../tiles/row_piece.h"
#include "params.h"

namespace tilewise::cuda {

template <class E>
__device__ __forceinline__ void summarise(const SummaryParams& params) {
  const SummaryProblem& p = params.problem;
  const int64_t item = params.firstBlock + block_index();
  const int32_t channel = int32_t(item % params.channelBlocks) * kSummaryThreads + int32_t(thread_index());
  const int32_t head = int32_t(item / params.channelBlocks % p.heads);
  const SummaryRun run = p.runs[item / params.channelBlocks / p.heads];
  if (channel >= p.headDim) return;
  const E* const keys =
      static_cast<const E*>(p.key.data) + p.key.offset(run.batch, run.first, head) + channel * p.key.dim;
  float largest = RowPiece<E>::numberOf(*keys), smallest = largest, sum = 0;
#pragma unroll 1
  for (int32_t first = 0; first < run.count; first += kSummaryAhead) {
    float x[kSummaryAhead];
#pragma unroll
    for (int i = 0; i < kSummaryAhead; ++i) {
      if (first + i < run.count) x[i] = RowPiece<E>::numberOf(keys[(first + i) * p.key.token]);
    }
#pragma unroll
    for (int i = 0; i < kSummaryAhead; ++i) {
      if (first + i >= run.count) continue;
      largest = larger(largest, x[i]);
      smallest = smaller(smallest, x[i]);
      sum += x[i];
    }
  }
  const int64_t row = int64_t(run.row) * p.heads + head;
  if (p.bounds) {
    E* const bounds = static_cast<E*>(p.bounds.data) + row * 2 * p.headDim + channel;
    RowPiece<E>::round(largest, bounds[0]);
    RowPiece<E>::round(smallest, bounds[p.headDim]);
  }
  if (p.means) st_global(p.means + row * p.headDim + channel, sum * (1.0f / float(run.count)));
}

}  // namespace tilewise::cuda
