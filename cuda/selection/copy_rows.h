// Rows of elements from global into shared memory, four lanes to a row.
// Reader: someone who reads search.h. A row is the dims of one token under one head; behind its last element follow
// zeros up to whole pieces of 16 bytes.
#pragma once

#include "../prims/prims.h"
#include "../../core/op/attention.h"

namespace tilewise::cuda {

template <class E>
struct Rows {
  const E* data;
  StoredRows rows;
  int64_t dim;
  int32_t dims, pieces;
  bool isAligned;  // elements side by side, every row on a boundary of 16 bytes

  static constexpr int kPerPiece = 16 / int(sizeof(E));

  __device__ __forceinline__ Rows(const Operand& from, const StoredRows& rows, int32_t dims, int32_t pieces,
                                  bool isAligned)
      : data(static_cast<const E*>(from.data)),
        rows(rows),
        dim(from.dim),
        dims(dims),
        pieces(pieces),
        isAligned(isAligned) {}

  // All lanes of a quad call this; the copy is complete after cp_async_wait() and a barrier.
  __device__ __forceinline__ void copy(Token which, saddr to) const {
    const E* const row = data + rows.at(which);
    for (int piece = lane_id() % 4; piece < pieces; piece += 4) {
      const int left = dims - piece * kPerPiece;
      if (isAligned) {
        cp_async16(to + piece * 16, row + piece * kPerPiece, clamp(left, 0, kPerPiece) * int(sizeof(E)));
      } else {
        st_shared(to + piece * 16, gather(row + piece * kPerPiece * dim, left));
      }
    }
  }

 private:
  __device__ __forceinline__ uint4 gather(const E* from, int left) const {
    uint32_t word[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < kPerPiece; ++i) {
      if (i < left) word[i * sizeof(E) / 4] |= bits(from[i * dim]) << i * sizeof(E) % 4 * 8;
    }
    return {word[0], word[1], word[2], word[3]};
  }
  static __device__ __forceinline__ uint32_t bits(float x) { return detail::bitsOf(x); }
  static __device__ __forceinline__ uint32_t bits(f16 x) { return x.bits; }
  static __device__ __forceinline__ uint32_t bits(bf16 x) { return x.bits; }
};

}  // namespace tilewise::cuda
