// Rows of queries, keys and values as float32 tiles of shared memory, and states to and from memory.
// Reader: someone who asks what a tile holds: see core/op/linear.h for the feature maps. Rows that do not exist and
// dims behind the last one are zeros.
#pragma once

#include "../../core/base/number.h"
#include "../tiles/row_piece.h"
#include "../tiles/shared_tile.h"
#include "../../core/op/linear.h"
#include "decays.h"
#include "params.h"

namespace tilewise::cuda {

template <int Columns>
using LinearTile = SharedTile<float, kStripDims, Columns>;

__device__ __forceinline__ float mapped(FeatureMap map, float x) {
  if (map == FeatureMap::elu1) return x > 0 ? x + 1 : exponential(x);
  // Of a number that is none the number comes out.
  if (map == FeatureMap::relu) return x < 0 ? 0 : x;
  return x;
}

// Tokens of one head.
template <class E>
struct LinearRows {
  const E* data;
  int64_t token, dim;
  bool isAligned;

  __device__ __forceinline__ LinearRows(const Operand& from, int64_t batch, Token first, int64_t head, bool isAligned)
      : data(static_cast<const E*>(from.data) + from.offset(batch, first, head)),
        token(from.token),
        dim(from.dim),
        isAligned(isAligned) {}

  // All threads of the block. `dims` from `firstDim` on are those that exist. Returns whether this thread met a number
  // that is not finite.
  template <int Columns>
  __device__ __forceinline__ bool copy(const LinearTile<Columns>& to, int n, int firstDim, int dims,
                                       FeatureMap map) const {
    using Piece = RowPiece<E>;
    constexpr int kCount = Piece::kCount, kPieces = Columns / kCount;
    bool found = false;
#pragma unroll 1
    for (int i = ownThread(); i < kChunkTokens * kPieces; i += kLinearThreads) {
      const int row = i / kPieces, column = i % kPieces * kCount;
      const int count = row < n ? clamp(dims - column, 0, kCount) : 0;
      Piece piece;
      if (count > 0) piece.load(data + row * token + (firstDim + column) * dim, dim, count, isAligned);
      float x[kCount];
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        x[e] = e < count ? mapped(map, Piece::numberOf(piece.element[e])) : 0;
        found |= !isFinite(x[e]);
      }
#pragma unroll
      for (int e = 0; e < kCount; e += 4) {
        st_shared(to.at(row, (column + e) / 4), uint4{detail::bitsOf(x[e]), detail::bitsOf(x[e + 1]),
                                                      detail::bitsOf(x[e + 2]), detail::bitsOf(x[e + 3])});
      }
    }
    return found;
  }
};

// A strip of the features of taylor2, from rows of at most 64 dims. All threads of the block.
__device__ __forceinline__ void expandRows(const LinearTile<kStripDims>& from, const LinearTile<kStripDims>& to,
                                           int firstFeature, const LinearParams& p) {
  const int thread = ownThread(), column = thread % kStripDims, feature = firstFeature + column, dims = p.headDim;
  // The feature is factor x[a] x[b]; without a or b, -1, that number is 1.
  int a = -1, b = -1, rest = feature - 1 - dims;
  if (rest >= 0) {
#pragma unroll 1
    for (a = 0; a < dims && rest >= dims - a; ++a) rest -= dims - a;
    b = a + rest;
  } else if (feature > 0) {
    a = feature - 1;
  }
  const float factor = a >= dims ? 0 : a < 0 ? 1 : b < 0 ? p.taylorSingle : a == b ? p.taylorSquare : p.taylorRoot;
#pragma unroll 1
  for (int row = thread / kStripDims; row < kChunkTokens; row += kLinearThreads / kStripDims) {
    float x = factor;
    if (a >= 0 && a < dims) x *= ld_shared_f32(from.element(row, a));
    if (b >= 0 && a < dims) x *= ld_shared_f32(from.element(row, b));
    st_shared(to.element(row, column), x);
  }
}

// Multiplies every row by its factor to the chunk's end. All threads of the block.
__device__ __forceinline__ void weighRows(const LinearTile<kStripDims>& tile, const ChunkRows& rows) {
#pragma unroll 1
  for (int i = ownThread(); i < kChunkTokens * kStripDims; i += kLinearThreads) {
    const saddr at = tile.element(i / kStripDims, i % kStripDims);
    st_shared(at, ld_shared_f32(at) * rows.load(ChunkRows::kToEnd, i / kStripDims));
  }
}

// A strip of a state, row-major in memory: `rows` rows and `columns` columns exist. All threads of the block.
template <int Columns>
__device__ __forceinline__ void readState(const LinearTile<Columns>& to, const float* from, int64_t stride, int rows,
                                          int columns) {
#pragma unroll 1
  for (int i = ownThread(); i < kStripDims * Columns; i += kLinearThreads) {
    const int row = i / Columns, column = i % Columns;
    const bool exists = from && row < rows && column < columns;
    st_shared(to.element(row, column), exists ? from[row * stride + column] : 0.0f);
  }
}
template <int Columns>
__device__ __forceinline__ void writeState(const LinearTile<Columns>& from, float* to, int64_t stride, int rows,
                                           int columns) {
#pragma unroll 1
  for (int i = ownThread(); i < kStripDims * Columns; i += kLinearThreads) {
    const int row = i / Columns, column = i % Columns;
    if (row < rows && column < columns) st_global(to + row * stride + column, ld_shared_f32(from.element(row, column)));
  }
}

}  // namespace tilewise::cuda
