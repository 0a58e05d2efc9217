// Rows whose pairs are rotated, a piece of a row to a thread. Reader: see core/op/rotary.h for the rule.
// Bound by memory: a thread reads 16 bytes and their partners before it writes both, so that `out` may be the input.
#pragma once

#include "../tiles/row_piece.h"
#include "params.h"

namespace tilewise::cuda {

struct Pair {
  float a, b;
};
__device__ __forceinline__ Pair rotate(Pair x, const float* rotations, int32_t pairs, int32_t i) {
  const float cosine = rotations[i], sine = rotations[pairs + i];
  return {x.a * cosine - x.b * sine, x.a * sine + x.b * cosine};
}

// A row as its pieces are read and written.
template <class E>
struct RotatedRow {
  using Piece = RowPiece<E>;
  static constexpr int kCount = Piece::kCount;

  const E* in;
  E* out;
  int64_t inDim, outDim;
  bool isAligned;

  __device__ __forceinline__ Piece load(int32_t first, int count) const {
    Piece piece;
    piece.load(in + first * inDim, inDim, count, isAligned);
    return piece;
  }
  __device__ __forceinline__ void store(const Piece& piece, int32_t first, int count) const {
    piece.store(out + first * outDim, outDim, count, isAligned);
  }

  __device__ __forceinline__ void rotateHalves(int32_t first, int32_t pairs, const float* rotations) const {
    const int count = smaller(kCount, pairs - first);
    Piece low = load(first, count), high = load(pairs + first, count);
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      if (e >= count) continue;
      const Pair x{Piece::numberOf(low.element[e]), Piece::numberOf(high.element[e])};
      const Pair y = rotate(x, rotations, pairs, first + e);
      Piece::round(y.a, low.element[e]);
      Piece::round(y.b, high.element[e]);
    }
    store(low, first, count);
    store(high, pairs + first, count);
  }

  __device__ __forceinline__ void rotateNeighbours(int32_t first, int32_t pairs, const float* rotations) const {
    const int count = smaller(kCount, 2 * pairs - first);
    Piece piece = load(first, count);
#pragma unroll
    for (int e = 0; e < kCount; e += 2) {
      if (e >= count) continue;
      const Pair x{Piece::numberOf(piece.element[e]), Piece::numberOf(piece.element[e + 1])};
      const Pair y = rotate(x, rotations, pairs, (first + e) / 2);
      Piece::round(y.a, piece.element[e]);
      Piece::round(y.b, piece.element[e + 1]);
    }
    store(piece, first, count);
  }

  __device__ __forceinline__ void copy(int32_t first, int32_t end) const {
    const int count = smaller(kCount, end - first);
    store(load(first, count), first, count);
  }
};

template <class E>
__device__ __forceinline__ void rotateRows(const RotaryParams& p) {
  const int64_t at = p.firstPiece + int64_t(block_index()) * kRotaryThreads + thread_index();
  if (at >= p.work) return;
  const int32_t piece = int32_t(at % p.pieces);
  const int64_t index = at / p.pieces, head = index % p.heads, token = index / p.heads % p.tokens;
  const int64_t batch = index / p.heads / p.tokens;
  const RotatedRow<E> row{static_cast<const E*>(p.in.data) + p.in.offset(batch, token, head),
                          static_cast<E*>(p.out.data) + p.out.offset(batch, token, head), p.in.dim, p.out.dim,
                          p.isAligned};
  const int32_t first = piece * row.kCount;
  if (piece >= p.rotatedPieces) {
    return row.copy(2 * p.pairs + (piece - p.rotatedPieces) * row.kCount, p.headDim);
  }
  const float* const rotations =
      p.rotations.data + batch * p.rotations.batch + token * p.rotations.token + head * p.rotations.head;
  if (p.isInterleaved) {
    row.rotateNeighbours(first, p.pairs, rotations);
  } else {
    row.rotateHalves(first, p.pairs, rotations);
  }
}

}  // namespace tilewise::cuda
