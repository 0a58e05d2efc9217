// Statistics by rows: the lse of 64 queries of a head, and their scores where these are wanted, or wait for the keys of
// the largest to be found. Reader: someone who follows a row through its keys.
#pragma once

#include "score_tile.h"

namespace tilewise::cuda {

template <class E>
class RowStats : ScoreTile<E, Kept::queries> {
  using Base = ScoreTile<E, Kept::queries>;
  using typename Base::Scores;

 public:
  __device__ __forceinline__ RowStats(const StatsParams& params, int64_t tile)
      : Base(params, tile / params.queryTiles()), tile_(tile), query_(Token(tile % params.queryTiles()) * kStatsTile) {}

  __device__ __forceinline__ void run() {
    const Token seen = Base::seenByTile(query_);
    const Token end = Base::p_.scores ? Base::p_.keys : seen;
    Scores scores;
#pragma unroll 1
    for (Token key = 0; key < end; key += kStatsTile) {
      if (key < seen) {
        Base::score(scores, query_, key);
      } else {
        scores.forEach([](float& x, int, int, int) { x = -INFINITY; });
      }
      if (Base::params_.scores) write(scores, key);
      add(scores);
    }
    if (Base::params_.lseOut) writeLse();
  }

 private:
  __device__ __forceinline__ void write(Scores& scores, Token key) const {
    float* const rows = Base::params_.scores + Base::params_.scoreRow(tile_, 0) * Base::p_.keys;
    Base::forEachOfMatrix(scores, query_, key, [&](float x, int row, Token column) {
      st_global(rows + row * int64_t(Base::p_.keys) + column, x);
    });
  }

  // A lane sums what it has of its rows, relative to the largest score of its warp's half of them.
  __device__ __forceinline__ void add(Scores& scores) {
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      float most = state_[slot].max;
#pragma unroll
      for (int block = 0; block < Base::kColumns / 8; ++block)
#pragma unroll
        for (int i = 0; i < 2; ++i) most = max_f32(most, scores.at(slot, block, i));
      most = quadMax(most);
      const float base = subtrahend(most);
      float sum = state_[slot].sum * exp2_approx((state_[slot].max - base) * kLog2E);
#pragma unroll
      for (int block = 0; block < Base::kColumns / 8; ++block)
#pragma unroll
        for (int i = 0; i < 2; ++i) sum += exp2_approx((scores.at(slot, block, i) - base) * kLog2E);
      state_[slot] = {most, sum};
    }
  }

  // The halves of a row meet in shared memory: [rows][max, sum].
  __device__ __forceinline__ void writeLse() {
    const bool isSecond = warp_id() % 2 == 1, isFirstOfQuad = lane_id() % 4 == 0;
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      state_[slot].sum = quadSum(state_[slot].sum);
      if (!isSecond || !isFirstOfQuad) continue;
      const saddr at = Base::numbers() + Base::rowOf(slot) * 8;
      st_shared(at, state_[slot].max);
      st_shared(at + 4, state_[slot].sum);
    }
    sync_block();
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const Token query = query_ + Base::rowOf(slot);
      if (isSecond || !isFirstOfQuad || query >= Base::p_.queries) continue;
      const saddr at = Base::numbers() + Base::rowOf(slot) * 8;
      merge(state_[slot], SoftmaxState{ld_shared_f32(at), ld_shared_f32(at + 4)});
      st_global(Base::params_.lseOut + Base::task_ * Base::p_.queries + query, state_[slot].lse());
    }
  }

  int64_t tile_;
  Token query_;
  SoftmaxState state_[2];
};

}  // namespace tilewise::cuda
