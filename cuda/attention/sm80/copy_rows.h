// Rows between global and shared memory: keys and values of a visit, queries, and the way back for outputs.
// Reader: someone who asks how strides, odd sizes and stores reach a tile.
#pragma once

#include "../../tiles/element.h"
#include "../../tiles/shared_tile.h"
#include "../queries.h"
#include "../visits.h"

namespace tilewise::cuda {

// Where the rows of one operand are, for one batch entry and head.
template <class E>
struct RowSource {
  using Bits = typename Element<E>::Bits;

  const Bits* base;  // of the first row
  StoredRows rows;
  int64_t dim;
  int dims;
  bool isAligned;

  __device__ __forceinline__ RowSource(const Operand& operand, const StoredRows& rows_, int dims_, bool aligned)
      : base(static_cast<const Bits*>(operand.data) + rows_.first),
        rows(rows_),
        dim(operand.dim),
        dims(dims_),
        isAligned(aligned) {}

  __device__ __forceinline__ const Bits* row(Token t) const { return base + rows.fromFirst(t); }
};

// Where the keys or the values of a block's head are, extra keys (options.extraKeys) included. Grids
// are never on pages, and have no registers for them.
template <class E, bool Gathers, bool IsGrid>
struct KeySources {
  RowSource<E> rows;  // of the block's own keys
  const Operand& extra;
  int64_t extraOffset;
  bool isExtraAligned;

  __device__ __forceinline__ KeySources(const AttentionParams& p, const Work& work, const Operand& operand,
                                        const Operand& extraOperand, int dims, bool isAligned, bool isExtraAligned_)
      : KeySources(p.problem.store, work.sequence, p.problem.kvHeadOf(work.map.firstHead), operand, extraOperand, dims,
                   isAligned, isExtraAligned_) {}

  __device__ __forceinline__ RowSource<E> of(const Visit& visit) const {
    RowSource<E> found = rows;
    if (Gathers && visit.isOfExtras<IsGrid>()) {
      found = RowSource<E>(extra, StoredRows{extraOffset, extra.token}, rows.dims, isExtraAligned);
    }
    return found;
  }

 private:
  __device__ __forceinline__ KeySources(const KeyStore& store, const Sequence& sequence, int32_t head,
                                        const Operand& operand, const Operand& extraOperand, int dims, bool isAligned,
                                        bool isExtraAligned_)
      : rows(operand, rowsOf(store, sequence, head, operand), dims, isAligned),
        extra(extraOperand),
        extraOffset(extra.offset(sequence.batch, 0, head)),
        isExtraAligned(isExtraAligned_) {}

  static __device__ __forceinline__ StoredRows rowsOf(const KeyStore& store, const Sequence& sequence, int32_t head,
                                                      const Operand& operand) {
    return Gathers && !IsGrid ? store.rowsOf(operand, sequence.keyBatch, sequence.keys.begin, head)
                              : DenseKeys::rowsOf(operand, sequence.batch, sequence.keys.begin, head);
  }
};

// Elements of a chunk one by one: rows that are not aligned, or dims that do not follow each other. Rare, so short.
template <class E>
__device__ __forceinline__ void gatherChunk(saddr to, const typename Element<E>::Bits* from, int64_t dim, int count) {
#pragma unroll 1
  for (int i = 0; i < 16 / int(sizeof(E)); ++i) {
    typename Element<E>::Bits element = 0;
    if (i < count) element = from[i * dim];
    st_shared(to + i * int(sizeof(E)), element);
  }
}

// Chunk `c` of a row into shared memory; what is past the row's dims becomes zero, and of no row (null) everything.
template <class E>
__device__ __forceinline__ void copyChunk(saddr to, const RowSource<E>& source, const typename Element<E>::Bits* row,
                                          int c) {
  constexpr int kPerChunk = 16 / int(sizeof(E));
  const int count = row ? clamp(source.dims - c * kPerChunk, 0, kPerChunk) : 0;
  if (source.isAligned) {
    cp_async16(to, row + c * kPerChunk, count * int(sizeof(E)));
  } else {
    gatherChunk<E>(to, row + int64_t(c) * kPerChunk * source.dim, source.dim, count);
  }
}

template <class T>
__device__ __forceinline__ const T* shflPointer(const T* pointer, int lane) {
  const uint64_t bits = reinterpret_cast<uintptr_t>(pointer);
  const uint64_t low = shfl(uint32_t(bits), lane), high = shfl(uint32_t(bits >> 32), lane);
  return reinterpret_cast<const T*>(uintptr_t(low | high << 32));
}

// The calling warp's `Own` rows of a visit's keys or values.
template <int Own, bool Gathers, bool IsGrid, class E, int Keys, int Dim>
__device__ __forceinline__ void copyVisit(const SharedTile<E, Keys, Dim>& tile, const RowSource<E>& source,
                                          const Visit& visit) {
  constexpr int kChunks = SharedTile<E, Keys, Dim>::kChunks;
  static_assert(Own * kChunks % 32 == 0, "every lane copies as many chunks");
  using Bits = typename Element<E>::Bits;
  const int firstRow = warp_id() * Own;
  // Rows anywhere: each lane finds one, and the others ask it. Pages take a division, which is then done once.
  const Bits* own = nullptr;
  if constexpr (Gathers) {
    const int r = firstRow + lane_id() % Own;
    const Token token = visit.isOfExtras<IsGrid>() ? (r < visit.count ? visit.first + r : -1) : visit.token;
    if (token >= 0) own = source.row(token);
  }
  const auto copy = [&](int i) {
    const int r = i / kChunks, c = i % kChunks;
    const Bits* row;
    if constexpr (Gathers) {
      row = shflPointer(own, r);
    } else {
      row = firstRow + r < visit.count ? source.row(visit.first + firstRow + r) : nullptr;
    }
    copyChunk(tile.at(firstRow + r, c), source, row, c);
  };
  [[maybe_unused]] constexpr int kUnroll = !Gathers ? 8 : kChunks < 32 ? 4 : 2;
  if (source.isAligned) {
#pragma unroll kUnroll
    for (int i = 0; i < Own * kChunks / 32; ++i) copy(i * 32 + lane_id());
  } else {
#pragma unroll 1
    for (int i = 0; i < Own * kChunks / 32; ++i) copy(i * 32 + lane_id());
  }
}

// All rows of a tile of queries, by the whole block.
template <int Threads, class E, int Rows, int Dim, class Q>
__device__ __forceinline__ void copyQueries(const SharedTile<E, Rows, Dim>& tile, const AttentionParams& p,
                                            const Work& work, const Q& queries) {
  constexpr int kChunks = SharedTile<E, Rows, Dim>::kChunks;
#pragma unroll 1
  for (int i = int(thread_index()); i < Rows * kChunks; i += Threads) {
    const auto query = queries.at(i / kChunks);
    const int64_t offset = p.problem.query.offset(work.sequence.batch, work.sequence.queries.begin + query.token,
                                                  p.problem.queryHeadOf(query.head));
    const StoredRows rows{offset, p.problem.query.token};
    const RowSource<E> source(p.problem.query, rows, p.problem.headDim, p.queryIsAligned);
    copyChunk(tile.at(i / kChunks, i % kChunks), source, query.isReal ? source.base : nullptr, i % kChunks);
  }
}

// Stores a chunk of an output row: 16 bytes at once where it may, element by element elsewhere.
template <class E>
__device__ __forceinline__ void storeChunk(const AttentionParams& p, int64_t offset, int c, saddr from) {
  using Bits = typename Element<E>::Bits;
  constexpr int kPerChunk = 16 / int(sizeof(E));
  const int count = smaller(kPerChunk, p.problem.valueDim - c * kPerChunk);
  Bits* to = static_cast<Bits*>(p.problem.out.data) + offset + int64_t(c) * kPerChunk * p.problem.out.dim;
  if (p.outIsAligned && count == kPerChunk) return st_global(static_cast<void*>(to), ld_shared_128(from));
#pragma unroll 1
  for (int i = 0; i < count; ++i) to[i * p.problem.out.dim] = Element<E>::loadBits(from + i * int(sizeof(E)));
}

}  // namespace tilewise::cuda
