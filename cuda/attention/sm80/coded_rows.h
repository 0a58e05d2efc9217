// Rows of codes on their way to a tile in shared memory, where they are numbers of the tile's type. Reader: someone who
// follows quantised keys (core/store/coded_keys.h) to a GPU; copy_rows.h copies exact rows. A lane keeps to one row, so
// that it looks for the row's block, scales and minima once.
#pragma once

#include "../../tiles/row_piece.h"
#include "copy_rows.h"

namespace tilewise::cuda {

// One row of codes.
class CodedRow {
 public:
  __device__ __forceinline__ CodedRow(const CodedRows& rows)
      : form_(*rows.form), codes_(rows.row(0)), scales_(rows.scales + rows.scaleAt(0, 0)) {}

  // 16 bytes of numbers from a channel on, a multiple of their count; those behind the last channel are 0.
  template <class E>
  __device__ __forceinline__ void copy(saddr to, int channel) const {
    if (!areInFours()) return copyEach<E>(to, channel);
    RowPiece<E> piece;
#pragma unroll
    for (int i = 0; i < piece.kCount; i += 4) {
      float x[4] = {};
      if (channel + i < form_.dim) read(x, channel + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) piece.round(x[j], piece.element[i + j]);
    }
    st_shared(to, piece.whole);
  }

 private:
  // Whether four channels have their scales next to each other, or share one.
  __device__ __forceinline__ bool areInFours() const {
    return form_.axis == CodeAxis::channel ? form_.dim % 4 == 0 : form_.group % 4 == 0;
  }
  __device__ __forceinline__ uint32_t mask() const { return (1u << form_.bits) - 1; }
  // Of the row's channel 0, as scales_ is.
  __device__ __forceinline__ const float* mins() const {
    return scales_ + (form_.minsAt - form_.scalesAt) / int64_t(sizeof(float));
  }

  // Four numbers, whose codes are in bytes that follow each other.
  __device__ __forceinline__ void read(float (&x)[4], int channel) const {
    const uint32_t word = *reinterpret_cast<const uint32_t*>(codes_ + form_.byteOf(channel)) >> form_.bitOf(channel);
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = float(int32_t(word >> 8 * i & mask()));
    if (form_.axis == CodeAxis::channel) {
      RowPiece<float> scale, min;
      scale.whole = ld_global_128(scales_ + channel);
      min.whole = ld_global_128(mins() + channel);
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = x[i] * scale.element[i] + min.element[i];
    } else {
      const int64_t at = form_.scaleAt(0, channel);
      const float scale = scales_[at], min = mins()[at];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = x[i] * scale + min;
    }
  }
  // One by one. Rare, so short.
  template <class E>
  __device__ __forceinline__ void copyEach(saddr to, int channel) const {
#pragma unroll 1
    for (int i = 0; i < RowPiece<E>::kCount; ++i) {
      const int d = channel + i;
      float x = 0;
      if (d < form_.dim) {
        const int64_t at = form_.scaleAt(0, d);
        x = float(int32_t(codes_[form_.byteOf(d)] >> form_.bitOf(d) & mask())) * scales_[at] + *(mins() + at);
      }
      st_shared(to + i * int(sizeof(E)), Element<E>::fromFloat(x));
    }
  }

  const CodeForm& form_;
  const uint8_t* codes_;
  const float* scales_;  // of the row's channel 0
};

// `Own` rows of the calling warp's, in a tile from `firstRow` on, for a call whose older keys have codes: the key or
// the value of each lane's token, -1 where there is none; of exact rows from dim `first` on, of codes from
// `firstChannel`. Lanes that are `Own` apart have the same token.
template <int Own, bool AreKeys, class E, class Tile>
__device__ __forceinline__ void copyStoredRows(const Tile& tile, int firstRow, const RowSource<E>& source,
                                               const AttentionParams& p, Token token, int first, int firstChannel) {
  static_assert(32 % Own == 0, "as many lanes for every row");
  const CodedKeys& codes = *p.problem.store.codes;
  const Work work = workOf(p, block_index());
  const int row = firstRow + lane_id() % Own;
  const int64_t b = work.sequence.keyBatch;
  if (token >= 0 && codes.has(AreKeys, b, token)) {
    const CodedRow coded = codes.rows(AreKeys, b, p.problem.kvHeadOf(work.map.firstHead), token);
#pragma unroll 1
    for (int c = lane_id() / Own; c < Tile::kChunks; c += 32 / Own) {
      coded.copy<E>(tile.at(row, c), firstChannel + c * RowPiece<E>::kCount);
    }
  } else {
    const auto* const exact = token >= 0 ? source.row(token) + first * source.dim : nullptr;
#pragma unroll 1
    for (int c = lane_id() / Own; c < Tile::kChunks; c += 32 / Own) copyChunk(tile.at(row, c), source, exact, c);
  }
}

}  // namespace tilewise::cuda
