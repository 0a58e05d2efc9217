// Rows written to their slots, those of a token and head by one warp. Reader: someone who reads the kernel; what it
// does is core/op/append.h. Bound by memory.
#pragma once

#include "../prims/prims.h"
#include "params.h"

namespace tilewise::cuda {

// A row that is as its page wants it.
__device__ __forceinline__ void copyWhole(const void* from, void* to, int bytes) {
  for (int at = 16 * lane_id(); at < bytes; at += 16 * 32) {
    st_global(static_cast<char*>(to) + at, ld_global_128(static_cast<const char*>(from) + at));
  }
}

template <class From, class To>
__device__ __forceinline__ void convertRow(const From* from, int64_t fromStride, To* to, int64_t toStride, int dim) {
  for (int d = lane_id(); d < dim; d += 32) roundTo(to[d * toStride], toFloat(from[d * fromStride]));
}

template <class To>
__device__ __forceinline__ void appendRows(const AppendParams& params) {
  const AppendProblem& p = params.problem;
  const int64_t row = params.firstRow + int64_t(block_index()) * kAppendWarps + warp_id();
  if (row >= p.rows() * p.heads) return;
  const int64_t head = row % p.heads, index = row / p.heads;
  if (!p.slots.keeps(index)) return;
  const int64_t batch = index / p.tokens, token = index % p.tokens;
  const auto append = [&](const AppendedRows& rows) {
    if (rows.dim == 0) return;
    To* const to = static_cast<To*>(rows.to.data) + p.slots.offset(rows.to, index, head);
    withElementType(p.from, [&](auto* element) {
      auto* const from = static_cast<decltype(element)>(rows.from.data) + rows.from.offset(batch, token, head);
      if (params.copiesWhole) return copyWhole(from, to, rows.dim * int(sizeof(To)));
      convertRow(from, rows.from.dim, to, rows.to.dim, rows.dim);
    });
  };
  append(p.keys);
  append(p.values);
}

}  // namespace tilewise::cuda
