// The keys with the largest scores of a row, by a block of threads: chosen (tiles/best.h), sorted in place, weighed.
// Reader: someone who asks about ties: of equal scores the smaller token is kept, and comes first. A key that scores
// -inf or no number is never among them.
#pragma once

#include "../../core/base/softmax.h"
#include "../tiles/best.h"
#include "params.h"

namespace tilewise::cuda {

// Of keys of a row; 0: cannot be chosen.
struct ScoreRanks {
  const float* scores;
  __device__ __forceinline__ uint32_t operator[](int64_t i) const {
    return scores[i] > -INFINITY ? rankOf(scores[i]) : 0;
  }
};

// Keys and their scores become falling. A bitonic network whose comparators all point the same way, so that any number
// is sorted: what is missing to a power of two would be at the end.
__device__ __forceinline__ void sortFalling(int32_t* tokens, float* scores, int32_t count) {
  const auto compare = [&](int32_t low, int32_t high) {
    if (high >= count) return;
    const uint32_t first = ScoreRanks{scores}[low], second = ScoreRanks{scores}[high];
    if (first > second || (first == second && tokens[low] < tokens[high])) return;
    const float score = scores[low];
    const int32_t token = tokens[low];
    scores[low] = scores[high];
    tokens[low] = tokens[high];
    scores[high] = score;
    tokens[high] = token;
  };
#pragma unroll 1
  for (int32_t size = 2; size / 2 < count; size *= 2) {
#pragma unroll 1
    for (int32_t half = size / 2; half > 0; half /= 2) {
      sync_block();
      // Pairs of which `half` is the distance; the first round of a size mirrors its second half.
#pragma unroll 1
      for (int32_t i = int32_t(thread_index()); i / half * 2 * half < count; i += kListThreads) {
        const int32_t low = i / half * 2 * half + i % half;
        compare(low, half == size / 2 ? (low / size + 1) * size - 1 - low % size : low + half);
      }
    }
  }
  sync_block();
}

__device__ __forceinline__ void keepTopKeys(const StatsParams& params) {
  const StatsCall& p = params.call;
  const int64_t index = params.firstBlock + block_index();  // of the slice's rows
  const int64_t tile = params.firstTile + index / kStatsTile;
  const int row = int(index % kStatsTile);
  const int64_t task = tile / params.queryTiles();
  const Token query = Token(tile % params.queryTiles()) * kStatsTile + row;
  if (query >= p.queries) return;
  const int64_t at = task * p.queries + query;
  int32_t* const tokens = p.topIndices + at * p.topK;
  float* const probs = p.topProbs + at * p.topK;
  const float* const scores = params.scores + params.scoreRow(tile, row) * p.keys;
  const Token seen = p.seenBy(task / p.queryHeads, query);
  const int32_t kept = smaller<int32_t>(p.topK, seen);
  BlockSums sums;
  forEachBest(ScoreRanks{scores}, seen, kept, sums, [&](int64_t i, int64_t place) {
    tokens[place] = int32_t(i);
    st_global(probs + place, scores[i]);
  });
  sortFalling(tokens, probs, kept);
  const float lse = params.lse[at];
#pragma unroll 1
  for (int32_t i = int32_t(thread_index()); i < p.topK; i += kListThreads) {
    const bool isKey = i < kept && probs[i] > -INFINITY;
    if (!isKey) tokens[i] = -1;
    st_global(probs + i, isKey && lse != -INFINITY ? exp2_approx((probs[i] - lse) * kLog2E) : 0);
  }
}

}  // namespace tilewise::cuda
