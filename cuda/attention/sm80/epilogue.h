// The end of a tile: sums become outputs and lse, or partial results that the combine kernel joins.
// Reader: someone who asks what is written, and where. Start at finish() at the end. All keys have been visited; each
// lane still has its own columns' sums.
#pragma once

#include "../../../core/base/softmax.h"
#include "../../tiles/mma.h"
#include "layout.h"
#include "../online_softmax.h"
#include "copy_rows.h"
#include "../scores.h"

namespace tilewise::cuda {

template <class Q>
__device__ __forceinline__ int64_t outputOffset(const AttentionParams& p, const Work& work, const Q& query) {
  const OutputRow row = outputRowOf(work.sequence, query);
  return p.problem.out.offset(row.batch, row.token, row.head);
}

template <class Q>
__device__ __forceinline__ void storeLse(const AttentionParams& p, const Work& work, const Q& query, float lse) {
  if (!p.problem.lse) return;
  *p.problem.lseAt(work.sequence.batch, work.sequence.queries.begin + query.token, query.head) = lse;
}

// What a row's sums are multiplied by; its lse is final afterwards. Stream kernels know softmax alone, and no gate.
template <class L, class Q>
__device__ __forceinline__ float finishRowOf(const AttentionParams& p, const Work& work, const Q& query,
                                             SoftmaxState& state) {
  return L::kGathers ? finishRow(p.problem, state, outputRowOf(work.sequence, query))
                     : finishRow(state, p.problem.sink(query.head));
}

// Rows that the gate closes are 0, whatever their sums are.
template <class L, class Q>
__device__ __forceinline__ void clearClosed(const AttentionParams& p, const Work& work, const Q& queries,
                                            RegisterTile<L::kRowTiles, L::kValueDim>& output) {
  using Tile = RegisterTile<L::kRowTiles, L::kValueDim>;
#pragma unroll
  for (int slot = 0; slot < Tile::kSlots; ++slot) {
    const auto query = queries.at(L::firstRow() + Tile::row(slot));
    const bool isClosed = p.problem.gate.closes(outputRowOf(work.sequence, query));
#pragma unroll
    for (int block = 0; block < L::kValueDim / 8; ++block)
#pragma unroll
      for (int i = 0; i < 2; ++i) output.at(slot, block, i) = isClosed ? 0.0f : output.at(slot, block, i);
  }
}

// Split keys: sums and states go from registers straight to the workspace.
template <class L, class Q>
__device__ __forceinline__ void storePartials(const AttentionParams& p, const Work& work, const Q& queries,
                                              const OnlineSoftmax<2 * L::kRowTiles>& softmax,
                                              RegisterTile<L::kRowTiles, L::kValueDim>& output, float scoreFactor) {
  using Tile = RegisterTile<L::kRowTiles, L::kValueDim>;
  const int firstRow = L::firstRow();
#pragma unroll
  for (int slot = 0; slot < Tile::kSlots; ++slot) {
    const auto query = queries.at(firstRow + Tile::row(slot));
    const SoftmaxState state = softmax.finish(slot, scoreFactor);
    if (!query.isReal) continue;
    const int64_t row = p.partial(work.index, query.head, query.token, work.split);
    if (lane_id() % 4 == 0) p.partialStates[row] = {state.max, state.sum};
    float* to = p.partialOutputs + row * p.problem.valueDim;
#pragma unroll
    for (int block = 0; block < L::kValueDim / 8; ++block)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = Tile::column(block, i);
        if (column < p.problem.valueDim) to[column] = output.at(slot, block, i);
      }
  }
}

// Warps that divide the queries: each warp stages its output in its own query rows (no longer read) to store 16-byte
// chunks.
template <class L, class Q>
__device__ __forceinline__ void storeRows(const AttentionParams& p, const Work& work, const Q& queries,
                                          const OnlineSoftmax<2 * L::kRowTiles>& softmax,
                                          RegisterTile<L::kRowTiles, L::kValueDim>& output, float scoreFactor) {
  using E = typename L::E;
  using Tile = RegisterTile<L::kRowTiles, L::kValueDim>;
  const int firstRow = L::firstRow();
  float factor[Tile::kSlots];
#pragma unroll
  for (int slot = 0; slot < Tile::kSlots; ++slot) {
    const auto query = queries.at(firstRow + Tile::row(slot));
    SoftmaxState state = softmax.finish(slot, scoreFactor);
    factor[slot] = finishRowOf<L>(p, work, query, state);
    if (query.isReal && lane_id() % 4 == 0) storeLse(p, work, query, state.lse());
  }
  if constexpr (L::kGathers) {
    if (p.problem.gate.isPresent()) clearClosed<L>(p, work, queries, output);
  }
  output.scaleRows(factor);
  const auto rows = L::queries();
#pragma unroll
  for (int slot = 0; slot < Tile::kSlots; ++slot) {
#pragma unroll
    for (int block = 0; block < L::kValueDim / 8; ++block) {
      Element<E>::store(rows.element(firstRow + Tile::row(slot), Tile::column(block, 0)), output.at(slot, block, 0),
                        output.at(slot, block, 1));
    }
  }
  sync_warp();
  constexpr int kChunks = L::ValueTile::kChunks;
#pragma unroll 1
  for (int i = lane_id(); i < L::kWarpRows * kChunks; i += 32) {
    const int row = firstRow + i / kChunks, c = i % kChunks;
    const auto query = queries.at(row);
    if (query.isReal) storeChunk<E>(p, outputOffset(p, work, query), c, rows.at(row, c));
  }
}

// Where the sums of warps that divide the keys meet: in the queries, keys and values, which nobody reads any more.
template <class L>
struct MergeMemory {
  static constexpr int kPitch = L::kValueDim * 4;
  static_assert(L::kWarps * L::kRows * kPitch <= 2 * L::KeyTile::kBytes, "tuning.h: too few keys for the merge");
  static_assert(L::kWarps * L::kRows * 8 <= L::QueryTile::kBytes, "states fit where the queries were");

  // Max and sum of a row of a warp's.
  static __device__ __forceinline__ saddr state(int row, int warp) {
    return smem_base() + (row * L::kWarps + warp) * 8;
  }
  static __device__ __forceinline__ saddr output(int row, int warp, int column) {
    return smem_base() + L::kShared.keys + (warp * L::kRows + row) * kPitch + column * 4;
  }
};

// The calling warp's states and sums.
template <class L>
__device__ __forceinline__ void writeForMerge(const OnlineSoftmax<2 * L::kRowTiles>& softmax,
                                              RegisterTile<L::kRowTiles, L::kValueDim>& output, float scoreFactor,
                                              int warp) {
  using Tile = RegisterTile<L::kRowTiles, L::kValueDim>;
  using Memory = MergeMemory<L>;
#pragma unroll
  for (int slot = 0; slot < Tile::kSlots; ++slot) {
    const int row = Tile::row(slot);
    const SoftmaxState state = softmax.finish(slot, scoreFactor);
    if (lane_id() % 4 == 0) {
      st_shared(Memory::state(row, warp), state.max);
      st_shared(Memory::state(row, warp) + 4, state.sum);
    }
#pragma unroll
    for (int block = 0; block < L::kValueDim / 8; ++block)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        st_shared(Memory::output(row, warp, Tile::column(block, i)), output.at(slot, block, i));
      }
  }
}

// One row of all warps, merged in the order of the warps, becomes a row of the output or of the workspace.
template <class L, class Q>
__device__ __forceinline__ void mergeRow(const AttentionParams& p, const Work& work, const Q& query, int row) {
  using E = typename L::E;
  using Memory = MergeMemory<L>;
  SoftmaxState merged;
  float factor[L::kWarps];
#pragma unroll
  for (int w = 0; w < L::kWarps; ++w) {
    SoftmaxState part;
    part.max = ld_shared_f32(Memory::state(row, w));
    part.sum = ld_shared_f32(Memory::state(row, w) + 4);
    const MergeFactors f = merge(merged, part);
#pragma unroll
    for (int before = 0; before < w; ++before) factor[before] *= f.into;
    factor[w] = f.from;
  }
  const bool isPartial = p.splits > 1;
  const int64_t partial = isPartial ? p.partial(work.index, query.head, query.token, work.split) : 0;
  if (isPartial && lane_id() == 0) p.partialStates[partial] = {merged.max, merged.sum};
  const float last = isPartial ? 1.0f : finishRowOf<L>(p, work, query, merged);
  const bool isClosed = !isPartial && p.problem.gate.closes(outputRowOf(work.sequence, query));
  if (!isPartial && lane_id() == 0) storeLse(p, work, query, merged.lse());
#pragma unroll 1
  for (int d = lane_id(); d < p.problem.valueDim; d += 32) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < L::kWarps; ++w) sum += factor[w] * ld_shared_f32(Memory::output(row, w, d));
    if (isPartial) {
      p.partialOutputs[partial * p.problem.valueDim + d] = sum;
    } else {
      auto* out = static_cast<typename Element<E>::Bits*>(p.problem.out.data);
      out[outputOffset(p, work, query) + d * p.problem.out.dim] = Element<E>::fromFloat(isClosed ? 0.0f : sum * last);
    }
  }
}

template <class L, class Q>
__device__ __forceinline__ void storeMerged(const AttentionParams& p, const Work& work, const Q& queries,
                                            const OnlineSoftmax<2 * L::kRowTiles>& softmax,
                                            RegisterTile<L::kRowTiles, L::kValueDim>& output, float scoreFactor) {
  const int warp = warp_id();  // here, not below: every lane of the warp takes part in its shuffle
  sync_block();
  writeForMerge<L>(softmax, output, scoreFactor, warp);
  sync_block();
#pragma unroll 1
  for (int row = warp; row < queries.count; row += L::kWarps) mergeRow<L>(p, work, queries.at(row), row);
}

template <class L, class Q>
__device__ __forceinline__ void finish(const AttentionParams& p, const Work& work, const Q& queries,
                                       const OnlineSoftmax<2 * L::kRowTiles>& softmax,
                                       RegisterTile<L::kRowTiles, L::kValueDim>& output, const ScoreScale& scale) {
  if constexpr (L::kDividesKeys) {
    storeMerged<L>(p, work, queries, softmax, output, scale.ofMaximum);
  } else {
    if constexpr (L::kGathers) {
      if (p.splits > 1) return storePartials<L>(p, work, queries, softmax, output, scale.ofMaximum);
    }
    storeRows<L>(p, work, queries, softmax, output, scale.ofMaximum);
  }
}

}  // namespace tilewise::cuda
