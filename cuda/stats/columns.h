// Statistics by columns: what a group of queries of a head adds to keys, and the largest it has for them; or the sums
// of blocks. Reader: someone who follows a key through its queries. A lane sums rows of a warp in their order, lanes
// and warps are added in a fixed one: any launch gives the same bits.
#pragma once

#include "score_tile.h"

namespace tilewise::cuda {

template <class E>
class ColumnStats : ScoreTile<E, Kept::keys> {
  using Base = ScoreTile<E, Kept::keys>;
  using typename Base::Scores;
  static constexpr int kBlocks = Base::kColumns / 8, kRowWarps = kStatsTile / 16;

 public:
  __device__ __forceinline__ ColumnStats(const StatsParams& params, int64_t task) : Base(params, task) {}

  // Keys of a tile, and queries of a group.
  __device__ __forceinline__ void runPart(int64_t group, int64_t keyTile) {
    const Token begin = Token(group) * Base::params_.groupQueries, key = Token(keyTile) * kStatsTile;
    addQueries(begin, smaller(Base::p_.queries, begin + Base::params_.groupQueries), key);
    const int column = int(thread_index());
    if (column >= kStatsTile || key + column >= Base::p_.keys) return;
    const int64_t at = Base::params_.partAt(Base::task_, group) + key + column;
    if (Base::params_.columns) st_global(Base::params_.columns + at, sumOf(column));
    if (Base::params_.maxima) st_global(Base::params_.maxima + at, mostOf(column));
  }

  // A block of queries, and as many whole blocks of keys as a tile has room for, but at least one.
  __device__ __forceinline__ void runBlocks(int64_t queryBlock, int64_t span) {
    const Token begin = Token(queryBlock) * Base::p_.blockQueries,
                end = smaller(begin + Base::p_.blockQueries, Base::p_.queries);
    const Token first = Token(span) * Base::params_.span, last = smaller(Base::p_.keys, first + Base::params_.span);
    const int block = int(thread_index());  // of the span
    float sum = 0;
#pragma unroll 1
    for (Token key = first; key < last; key += kStatsTile) {
      addQueries(begin, end, key);
      if (block < Base::params_.blocksPerSpan) {
        const Token from = first + block * Base::p_.blockKeys - key;
        const int to = smaller<Token>(from + Base::p_.blockKeys, kStatsTile);
        for (int column = larger<Token>(from, 0); column < to; ++column) sum += sumOf(column);
      }
      sync_block();  // sums are overwritten
    }
    const int64_t index = span * Base::params_.blocksPerSpan + block;
    if (block >= Base::params_.blocksPerSpan || index >= Base::p_.keyBlocks()) return;
    st_global(Base::p_.blockSum + (Base::task_ * Base::p_.queryBlocks() + queryBlock) * Base::p_.keyBlocks() + index,
              sum);
  }

 private:
  __device__ __forceinline__ bool isProbsWanted() const { return Base::p_.probs && Base::params_.span == 0; }

  // All threads: sums and maxima of 64 keys over queries, one for each of four warps, in shared memory.
  __device__ __forceinline__ void addQueries(Token begin, Token end, Token key) {
    float sum[kBlocks][2] = {}, most[kBlocks][2] = {};
    Scores scores;
    Base::forget();
#pragma unroll 1
    for (Token query = begin; query < end; query += kStatsTile) {
      const bool isSeen = key < Base::seenByTile(query);
      if (!isSeen && !isProbsWanted()) continue;
      if (isSeen) {
        Base::score(scores, query, key);
        Base::weigh(scores, query);
      } else {
        scores.setZero();
      }
      if (isProbsWanted()) {
        float* const rows = Base::p_.probs + (Base::task_ * Base::p_.queries + query) * Base::p_.keys;
        Base::forEachOfMatrix(scores, query, key, [&](float x, int row, Token column) {
          st_global(rows + row * int64_t(Base::p_.keys) + column, x);
        });
      }
      scores.forEach([&](float x, int slot, int block, int i) {
        if (query + Base::rowOf(slot) >= end) return;  // of the next block of queries
        sum[block][i] += x;
        most[block][i] = larger(most[block][i], x);
      });
    }
    const int rows = warp_id() / 2;
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int lanes = 4; lanes < 32; lanes *= 2) {
          sum[block][i] += shfl_xor(sum[block][i], lanes);
          most[block][i] = larger(most[block][i], shfl_xor(most[block][i], lanes));
        }
        if (lane_id() >= 4) continue;
        const int column = Base::columnOf(block, i);
        st_shared(at(rows, column), sum[block][i]);
        st_shared(at(kRowWarps + rows, column), most[block][i]);
      }
    sync_block();
  }

  __device__ __forceinline__ saddr at(int row, int column) const {
    return Base::numbers() + (row * kStatsTile + column) * 4;
  }
  __device__ __forceinline__ float sumOf(int column) const {
    float sum = 0;
#pragma unroll
    for (int row = 0; row < kRowWarps; ++row) sum += ld_shared_f32(at(row, column));
    return sum;
  }
  __device__ __forceinline__ float mostOf(int column) const {
    float most = 0;
#pragma unroll
    for (int row = 0; row < kRowWarps; ++row) most = larger(most, ld_shared_f32(at(kRowWarps + row, column)));
    return most;
  }
};

// An item is a head, a group of its queries and a tile of keys; or a head, a block of queries and a span of keys.
template <class E>
__device__ __forceinline__ void addColumns(const StatsParams& p) {
  const int64_t item = p.firstBlock + block_index();
  const int64_t columns = p.span > 0 ? p.spans : p.keyTiles(), rows = p.span > 0 ? p.call.queryBlocks() : p.groups;
  ColumnStats<E> stats(p, item / columns / rows);
  const int64_t row = item / columns % rows, column = item % columns;
  if (p.span > 0) {
    stats.runBlocks(row, column);
  } else {
    stats.runPart(row, column);
  }
}

// Parts become results: a thread for each key of a batch entry.
__device__ __forceinline__ void addParts(const StatsParams& params) {
  const StatsCall& p = params.call;
  const int64_t item = (params.firstBlock + block_index()) * kStatsSumThreads + thread_index();
  if (item >= int64_t(p.batch) * p.keys) return;
  const int64_t b = item / p.keys, key = item % p.keys;
  float ofAll = 0, most = 0;
#pragma unroll 1
  for (int32_t head = 0; head < p.queryHeads; ++head) {
    const int64_t task = b * p.queryHeads + head;
    float sum = 0;
#pragma unroll 1
    for (int32_t group = 0; group < params.groups; ++group) {
      const int64_t at = params.partAt(task, group) + key;
      if (params.columns) sum += params.columns[at];
      if (params.maxima) most = larger(most, params.maxima[at]);
    }
    if (p.keySumOverQueries) st_global(p.keySumOverQueries + task * p.keys + key, sum);
    ofAll += sum;
  }
  if (p.keySum) st_global(p.keySum + item, ofAll);
  if (p.keyMaxOverHeads) st_global(p.keyMaxOverHeads + item, most);
}

}  // namespace tilewise::cuda
