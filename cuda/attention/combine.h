// combine(): partial results over pieces of the keys become one row, merged in the order of the pieces, so that the
// result has the same bits every time. One block of threads per row. Reader: someone who asks how split keys are
// joined; the rule is merge() of core/base/softmax.h.
#pragma once

#include "../../core/base/softmax.h"
#include "../tiles/element.h"
#include "params.h"

namespace tilewise::cuda {

template <class E>
__device__ __forceinline__ void combine(const AttentionParams& p) {
  const AttentionProblem& problem = p.problem;
  const uint32_t block = block_index();
  const Token token = Token(block % p.longestQueries);
  const int32_t head = int32_t(block / p.longestQueries % problem.outputHeads());
  const int32_t index = int32_t(block / p.longestQueries / problem.outputHeads());
  const Sequence sequence = problem.sequence(index);
  if (token >= sequence.queries.size() || !p.takes(index)) return;
  const int64_t first = p.partial(index, head, token, 0);

  // Every thread merges the states; each sum is then scaled once, by its distance to the final maximum.
  SoftmaxState state;
  for (int32_t split = 0; split < p.splits; ++split) {
    SoftmaxState part;
    part.max = p.partialStates[first + split].max;
    part.sum = p.partialStates[first + split].sum;
    merge(state, part);
  }
  const float base = subtrahend(state.max);
  const OutputRow of{sequence.batch, sequence.queries.begin + token, head};
  const float factor = finishRow(problem, state, of);
  const bool isClosed = problem.gate.closes(of);
  const int64_t row = problem.out.offset(of.batch, of.token, of.head);
  auto* out = static_cast<typename Element<E>::Bits*>(problem.out.data);
  for (int d = int(thread_index()); d < problem.valueDim; d += kCombineThreads) {
    float sum = 0;
#pragma unroll 8
    for (int32_t split = 0; split < p.splits; ++split) {
      const float weight = weightOf(p.partialStates[first + split].max, base);
      if (weight > 0) sum += weight * p.partialOutputs[(first + split) * problem.valueDim + d];
    }
    out[row + d * problem.out.dim] = Element<E>::fromFloat(isClosed ? 0.0f : sum * factor);
  }
  if (problem.lse && thread_index() == 0) {
    *problem.lseAt(of.batch, of.token, of.head) = state.lse();
  }
}

}  // namespace tilewise::cuda
