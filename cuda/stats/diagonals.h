// Statistics along diagonals: probabilities of a head summed by how far a key is in front of its query.
// Reader: someone who asks which thread has a diagonal. An item is 64 distances; with 64 queries they meet 127 keys,
// two tiles. Probabilities of a tile go through shared memory, from where a thread takes a quarter of its diagonal.
#pragma once

#include "score_tile.h"

namespace tilewise::cuda {

template <class E>
class DiagonalStats : ScoreTile<E, Kept::queries> {
  using Base = ScoreTile<E, Kept::queries>;
  using typename Base::Scores;
  static constexpr int kPitch = (kStatsTile + 1) * 4;  // neighbouring diagonals of a row are in neighbouring banks
  static constexpr int kQuarter = kStatsTile / 4;
  static_assert(kStatsThreads == 4 * kStatsTile, "a diagonal is four threads'");

 public:
  static constexpr int kNumberBytes = kStatsTile * kPitch;

  __device__ __forceinline__ DiagonalStats(const StatsParams& params, int64_t item)
      : Base(params, item / params.keyTiles()), distance_(Token(item % params.keyTiles()) * kStatsTile) {}

  __device__ __forceinline__ void run() {
    const Token used = Base::p_.keysOf(Base::batch_), behind = used - Base::p_.queries;
    const int diagonal = int(thread_index()) % kStatsTile, quarter = int(thread_index()) / kStatsTile;
    float sum = 0;
    Scores scores;
    // From the tile on whose last query is `distance_` keys behind one.
    const Token first = larger<Token>(0, distance_ - behind) / kStatsTile * kStatsTile;
#pragma unroll 1
    for (Token query = first; query < Base::p_.queries; query += kStatsTile) {
      Base::forget();
#pragma unroll 1
      for (int tile = 0; tile < 2; ++tile) {
        // Of row 0 the key at distance d is in column 63 - (d - distance_) of the first tile.
        const Token key = query + behind - distance_ - (kStatsTile - 1) + tile * kStatsTile;
        if (key >= used || key + kStatsTile <= 0) continue;
        Base::score(scores, query, key);
        Base::weigh(scores, query);
        scores.forEach([&](float x, int slot, int block, int i) {
          st_shared(at(Base::rowOf(slot), Base::columnOf(block, i)), x);
        });
        sync_block();  // score() has the one before the next tile's
        const int column = kStatsTile - 1 - diagonal - tile * kStatsTile;  // of row 0
        const int begin = larger(quarter * kQuarter, -column),
                  end = smaller((quarter + 1) * kQuarter, kStatsTile - column);
#pragma unroll 1
        for (int row = begin; row < end; ++row) sum += ld_shared_f32(at(row, row + column));
      }
    }
    sync_block();
    st_shared(at(quarter, diagonal), sum);
    sync_block();
    const Token distance = distance_ + diagonal;
    if (quarter > 0 || distance >= Base::p_.keys) return;
    for (int other = 1; other < 4; ++other) sum += ld_shared_f32(at(other, diagonal));
    st_global(Base::p_.diagSum + Base::task_ * Base::p_.keys + distance, sum);
  }

 private:
  __device__ __forceinline__ saddr at(int row, int column) const { return Base::numbers() + row * kPitch + column * 4; }

  Token distance_;
};

}  // namespace tilewise::cuda
