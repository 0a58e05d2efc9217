// Partial results merged in the order of the parts, a row to a warp. Reader: see core/base/softmax.h for the rule.
// Bound by memory: a lane holds 16 bytes of the row in float32, and passes over the parts for them.
#pragma once

#include "../../core/base/softmax.h"
#include "../prims/prims.h"
#include "params.h"

namespace tilewise::cuda {

// 16 bytes of a row, or what is left of it.
template <class E>
struct RowPiece {
  static constexpr int kCount = 16 / int(sizeof(E));
  union {
    uint4 whole;
    E element[kCount];
  };

  __device__ __forceinline__ RowPiece() : whole{0, 0, 0, 0} {}

  __device__ __forceinline__ void load(const E* from, int64_t stride, int count, bool isAligned) {
    if (isAligned && count == kCount) {
      whole = ld_global_128(from);
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (i < count) element[i] = from[i * stride];
    }
  }
  __device__ __forceinline__ void store(E* to, int64_t stride, int count, bool isAligned) const {
    if (isAligned && count == kCount) return st_global(to, whole);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (i < count) to[i * stride] = element[i];
    }
  }

  static __device__ __forceinline__ float numberOf(float x) { return x; }
  static __device__ __forceinline__ float numberOf(f16 x) { return fromFloat16(x.bits); }
  static __device__ __forceinline__ float numberOf(bf16 x) { return fromBfloat16(x.bits); }
  static __device__ __forceinline__ void round(float x, float& to) { to = x; }
  static __device__ __forceinline__ void round(float x, f16& to) { to.bits = toFloat16(x); }
  static __device__ __forceinline__ void round(float x, bf16& to) { to.bits = toBfloat16(x); }
};

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
    SoftmaxState state;  // of normalised rows: sum is 1 where a part saw a key
    float sum[kCount] = {};
    RowPiece<E> piece;
    for (int32_t i = 0; i < p.count; ++i) {
      const MergePart& part = parts[i];
      const float lse = part.lse[batch * part.lseBatch + head * part.lseHead + token * part.lseToken];
      const SoftmaxState from = stateOfLse(lse);
      const MergeFactors f = merge(state, from);
      if (from.sum == 0) continue;  // its output is 0 by contract; reading it could only add NaN
      piece.load(rowOf(part.out) + first * part.out.dim, part.out.dim, count, p.isAligned);
#pragma unroll
      for (int e = 0; e < kCount; ++e) sum[e] = sum[e] * f.into + piece.numberOf(piece.element[e]) * f.from;
    }
    const float factor = finishRow(state, p.sink(head));
#pragma unroll
    for (int e = 0; e < kCount; ++e) piece.round(sum[e] * factor, piece.element[e]);
    piece.store(rowOf(p.out) + first * p.out.dim, p.out.dim, count, p.isAligned);
    if (p.lse && first == 0) p.lse[batch * p.lseBatch + head * p.lseHead + token * p.lseToken] = state.lse();
  }
}

}  // namespace tilewise::cuda
