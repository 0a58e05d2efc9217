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
  __device__ __forceinline__ RowPiece<E> piece(int channel) const {
    RowPiece<E> piece;
#pragma unroll
    for (int i = 0; i < piece.kCount; i += 4) {
      float x[4];
      read(x, channel + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) piece.round(x[j], piece.element[i + j]);
    }
    return piece;
  }

 private:
  // Four numbers, whose codes are in bytes that follow each other.
  __device__ __forceinline__ void read(float (&x)[4], int channel) const {
    const int count = clamp(form_.dim - channel, 0, 4);
    const uint32_t mask = (1u << form_.bits) - 1;
    uint32_t word = 0;
    if (count > 0) word = *reinterpret_cast<const uint32_t*>(codes_ + form_.byteOf(channel)) >> form_.bitOf(channel);
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = float(int32_t(word >> 8 * i & mask));
    if (form_.axis == CodeAxis::channel) {
      const bool isAligned = form_.dim % 4 == 0;
      RowPiece<float> scale, min;
      scale.load(scales_ + channel, 1, count, isAligned);
      min.load(scales_ + toMins() + channel, 1, count, isAligned);
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = x[i] * scale.element[i] + min.element[i];
    } else {
      const bool isOneGroup = form_.group % 4 == 0;
      float scale = 0, min = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (i < count && (i == 0 || !isOneGroup)) {
          const int64_t at = form_.scaleAt(0, channel + i);
          scale = scales_[at];
          min = scales_[at + toMins()];
        }
        x[i] = i < count ? x[i] * scale + min : 0;
      }
    }
  }

  __device__ __forceinline__ int64_t toMins() const { return (form_.minsAt - form_.scalesAt) / int64_t(sizeof(float)); }

  const CodeForm& form_;
  const uint8_t* codes_;
  const float* scales_;  // of the row's channel 0; minima are as far behind them in every row
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
      st_shared(tile.at(row, c), coded.piece<E>(firstChannel + c * RowPiece<E>::kCount).whole);
    }
  } else {
    const auto* const exact = token >= 0 ? source.row(token) + first * source.dim : nullptr;
#pragma unroll 1
    for (int c = lane_id() / Own; c < Tile::kChunks; c += 32 / Own) copyChunk(tile.at(row, c), source, exact, c);
  }
}

}  // namespace tilewise::cuda
