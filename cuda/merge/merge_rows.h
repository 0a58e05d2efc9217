// Partial results merged in the order of the parts, a row to a warp. Reader: see core/base/softmax.h for the rule.
// Bound by memory: a lane holds 16 bytes of the row in float32, and passes over the parts for them.
#pragma once

#include "../../core/base/softmax.h"
#include "../tiles/row_piece.h"
#include "params.h"

namespace tilewise::cuda {

template <class E>
__device__ __forceinline__ void mergeRows(const MergeParams& p) {
  constexpr int kCount = RowPiece<E>::kCount;
  const int64_t row = p.firstRow + int64_t(block_index()) * kMergeWarps + warp_id();
  if (row >= p.rows) return;
  const int64_t head = row % p.heads, token = row / p.heads % p.queries, batch = row / p.heads / p.queries;
  const auto rowOf = [&](const Operand& operand) {
    return static_cast<E*>(operand.data) + operand.offset(batch, token, head);
  };
  const MergePart* const parts = p.parts();
  for (int first = lane_id() * kCount; first < p.valueDim; first += 32 * kCount) {
    const int count = smaller(kCount, p.valueDim - first);
    SoftmaxState state;
    float sum[kCount] = {};
    RowPiece<E> piece;
    for (int32_t i = 0; i < p.count; ++i) {
      const MergePart& part = parts[i];
      const SoftmaxState from = part.stateAt(batch, token, head);
      const MergeFactors f = merge(state, from);
      if (from.sum == 0) continue;  // its output is 0 by contract; reading it could only add NaN
      piece.load(rowOf(part.out) + first * part.out.dim, part.out.dim, count, p.isAligned);
#pragma unroll
      for (int e = 0; e < kCount; ++e) sum[e] = sum[e] * f.into + piece.numberOf(piece.element[e]) * f.from;
    }
    const float factor = parts[0].justAdds() ? 1 : finishRow(state, p.sink(head));
#pragma unroll
    for (int e = 0; e < kCount; ++e) piece.round(sum[e] * factor, piece.element[e]);
    piece.store(rowOf(p.out) + first * p.out.dim, p.out.dim, count, p.isAligned);
    if (p.lse && first == 0) p.lse[batch * p.lseBatch + head * p.lseHead + token * p.lseToken] = state.lse();
  }
}

}  // namespace tilewise::cuda
