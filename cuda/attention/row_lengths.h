// What divides rows by their lengths (core/score/cosine.h), a kernel of its own in front of attention's: lanes share a
// row, and read it 16 bytes at a time. Reader: someone who follows a cosine to a GPU.
#pragma once

#include "../tiles/inverse_root.h"
#include "../tiles/row_piece.h"
#include "params.h"

namespace tilewise::cuda {

// Sums of squares of a lane's pieces of a row; `shrunk`, where the others are beyond float32.
struct Squares {
  float sum = 0, shrunk = 0;

  template <class E>
  __device__ __forceinline__ void add(const RowPiece<E>& piece) {
#pragma unroll
    for (int i = 0; i < piece.kCount; ++i) {
      const float x = piece.numberOf(piece.element[i]), y = x * kShrink;
      sum += x * x;
      shrunk += y * y;
    }
  }
  // All lanes of the warp take part.
  __device__ __forceinline__ void join() {
#pragma unroll
    for (int step = 1; step < kLengthLanes; step *= 2) {
      sum += shfl_xor(sum, step);
      shrunk += shfl_xor(shrunk, step);
    }
  }
  __device__ __forceinline__ float factor() const {
    if (sum == INFINITY) return inverseRoot(shrunk) * kShrink;
    return inverseRoot(sum < kLeastLength * kLeastLength ? kLeastLength * kLeastLength : sum);
  }
};

template <class E>
__device__ __forceinline__ void writeLengthFactors(const LengthParams& p) {
  using Piece = RowPiece<E>;
  const int lane = lane_id() % kLengthLanes;
  const int64_t row =
      p.first + int64_t(block_index()) * (kLengthThreads / kLengthLanes) + int64_t(thread_index()) / kLengthLanes;
  bool isInUse = row < p.count;
  Squares squares;
  if (isInUse) {
    const int64_t head = row / p.tokens % p.heads, batch = row / p.tokens / p.heads;
    const Token token = Token(row % p.tokens);
    isInUse = token >= (p.starts ? p.starts[batch] : 0) && token < (p.ends ? p.ends[batch] : p.used);
    const int64_t at = isInUse ? p.store.rowsOf(p.rows, batch, 0, head).at(token) : 0;
    const E* const from = static_cast<const E*>(p.rows.data) + at;
    const int32_t dims = isInUse ? p.dims : 0;
#pragma unroll 1
    for (int32_t d = lane * Piece::kCount; d < dims; d += kLengthLanes * Piece::kCount) {
      Piece piece;
      piece.load(from + d * p.rows.dim, p.rows.dim, smaller<int32_t>(Piece::kCount, dims - d), p.isAligned);
      squares.add(piece);
    }
  }
  squares.join();
  if (isInUse && lane == 0) p.factors[row] = squares.factor();
}

}  // namespace tilewise::cuda
