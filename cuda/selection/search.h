// Scores of candidates: a thread block searches a range of the candidates of a group of query blocks, under every head
// of their list. Reader: start at scoreCandidates() at the end.
//
// Keys are either brought two by two as the search asks for them, or, where many blocks and heads search the same
// chunks, are in shared memory as whole chunks. Query rows come in batches of pairs (block, head), one batch ahead.
// A score depends on its key and the rows alone: how work is divided changes no bit.
#pragma once

#include "../tiles/best.h"
#include "copy_rows.h"
#include "methods.h"
#include "score_keys.h"

namespace tilewise::cuda {

// Keys that a warp fetches when it needs them: two rows per quad.
template <class E>
struct FetchedKeys {
  Rows<E> rows;
  KeyPair pair;  // where they go

  __device__ __forceinline__ KeyPair bring(Token left, Token right) const {
    sync_warp();  // nobody reads the rows before these any more
    rows.copy(left, pair.left);
    rows.copy(right, pair.right);
    cp_async_commit();
    cp_async_wait<0>();
    sync_warp();
    return pair;
  }
};

// Keys of a chunk that the thread block has in shared memory.
struct ResidentKeys {
  saddr first;
  int32_t pitch;
  Token start;

  __device__ __forceinline__ KeyPair bring(Token left, Token right) const {
    return {first + (left - start) * pitch, first + (right - start) * pitch};
  }
};

// What a thread block searches.
template <class E, class Search, bool kIsResident>
struct GroupSearch {
  const SelectionParams& p;
  const SelectionProblem& problem;
  int64_t slot;  // of the first query block
  Place first;
  int32_t blocks, pairs;

  __device__ __forceinline__ GroupSearch(const SelectionParams& p, int64_t group)
      : p(p), problem(p.problem), slot(group * p.blocksPerGroup), first(p, slot) {
    blocks = smaller(p.blocksPerGroup, problem.blocks(p.stage) - first.block);
    pairs = blocks * problem.headsPerList;
  }

  __device__ __forceinline__ Range queriesOf(int block) const {
    return problem.queriesOf(p.stage, first.block + block);
  }
  __device__ __forceinline__ Range keysOf(int block) const { return problem.candidates(first.batch, queriesOf(block)); }
  __device__ __forceinline__ int64_t countOf(int block) const { return Search::count(p, slot + block, keysOf(block)); }
  __device__ __forceinline__ int rowsOf(int block) const {
    return ceilDiv(queriesOf(block).size(), p.now().strideQueries);
  }
  __device__ __forceinline__ int32_t head(int pair) const {
    return first.list * problem.headsPerList + pair % problem.headsPerList;
  }
  __device__ __forceinline__ Rows<E> keyRows(int32_t head) const {
    return {problem.key, problem.keyRowsOf(first.batch, head), problem.headDim, p.search.pieces, p.isKeyAligned};
  }
  __device__ __forceinline__ saddr queryRow(int buffer, int row) const {
    const int rows = p.search.rowsPerPair * p.search.pairsPerBatch;
    return smem_base() + p.search.queryOffset + (buffer * rows + row) * p.search.queryPitch;
  }

  // Whole chunks [begin, end), as far as the group's last block sees them. Every head of the list has the same KV head.
  __device__ __forceinline__ void loadChunks(int64_t begin, int64_t end) const {
    const Rows<E> rows = keyRows(head(0));
    const Range keys = keysOf(blocks - 1);
    const Token chunk = p.now().chunk;
    const int all = int(end - begin) * chunk;
    for (int row = thread_index() / 4; row < all; row += kSearchThreads / 4) {
      const Range tokens = Search::tokensOf(p, slot + blocks - 1, begin + row / chunk, keys);
      const Token offset = row % chunk;
      if (offset >= tokens.size()) continue;
      rows.copy(tokens.begin + offset, smem_base() + row / chunk * p.search.chunkPitch + offset * p.search.keyPitch);
    }
  }

  __device__ __forceinline__ void loadQueries(int batch, int buffer) const {
    const int from = batch * p.search.pairsPerBatch, n = smaller(p.search.pairsPerBatch, pairs - from);
    for (int row = thread_index() / 4; row < n * p.search.rowsPerPair; row += kSearchThreads / 4) {
      const int pair = from + row / p.search.rowsPerPair, g = row % p.search.rowsPerPair;
      const int block = pair / problem.headsPerList;
      if (g >= rowsOf(block)) continue;
      const int32_t queryHead = problem.queryHeadOf(head(pair));
      const Rows<E> rows(problem.query, DenseKeys::rowsOf(problem.query, first.batch, 0, queryHead), problem.headDim,
                         p.search.pieces, p.isQueryAligned);
      rows.copy(sampled(queriesOf(block), p.now().strideQueries, g), queryRow(buffer, row));
    }
  }

  // Candidates [begin, end) by the pairs of a batch: a warp takes eight candidates of a pair at a time.
  __device__ __forceinline__ void searchBatch(int batch, int buffer, int64_t begin, int64_t end) const {
    const int from = batch * p.search.pairsPerBatch, n = smaller(p.search.pairsPerBatch, pairs - from);
    const int eights = int(ceilDiv<int64_t>(end - begin, kChunksPerWarp));
    const int warp = warp_id();
    if (warp >= p.search.searchers) return;
    for (int item = warp; item < n * eights; item += p.search.searchers) {
      const int pair = from + item / eights, block = pair / problem.headsPerList;
      const int64_t eight = begin + item % eights * kChunksPerWarp;
      const Range keys = keysOf(block);
      const int64_t count = Search::count(p, slot + block, keys);
      if (eight >= count) continue;
      // Quads past the last candidate search it, too, and keep it to themselves.
      const int64_t own = eight + lane_id() / 4, candidate = smaller(own, count - 1);
      const Range tokens = Search::tokensOf(p, slot + block, candidate, keys);
      const QueryRows queries{queryRow(buffer, (pair - from) * p.search.rowsPerPair), p.search.queryPitch,
                              rowsOf(block)};
      const float best = bestOf(tokens, int(candidate - begin), head(pair), queries);
      const int64_t ranks = (slot + block) * problem.headsPerList + pair % problem.headsPerList;
      if (own < count && lane_id() % 4 == 0) p.ranks[ranks * p.candidates + own] = rankOf(best);
    }
  }

  __device__ __forceinline__ float bestOf(const Range& tokens, int chunkOfTile, int32_t head,
                                          const QueryRows& queries) const {
    const int chunk = kIsResident ? chunkOfTile : warp_id() * kChunksPerWarp + lane_id() / 4;
    const saddr rows = smem_base() + chunk * p.search.chunkPitch;
    if constexpr (kIsResident) {
      return descend(Search(p, tokens), ResidentKeys{rows, p.search.keyPitch, tokens.begin}, queries);
    } else {
      return descend(Search(p, tokens), FetchedKeys<E>{keyRows(head), {rows, rows + p.search.keyPitch}}, queries);
    }
  }

  template <class Keys>
  __device__ __forceinline__ float descend(Search search, const Keys& keys, const QueryRows& queries) const {
    while (ballot(!search.isDone())) {
      const ScorePair scores = scoreKeys<E>(keys.bring(search.left(), search.right()), queries, p.search.pieces);
      search.take(scores.left, scores.right);
    }
    return search.best;
  }
};

template <class E, class Search, bool kIsResident>
__device__ __forceinline__ void scoreCandidates(const SelectionParams& p) {
  const SearchShape& shape = p.search;
  const GroupSearch<E, Search, kIsResident> group(p, block_index() / shape.ranges);
  const int64_t perRange = int64_t(shape.tilesPerBlock) * shape.chunksPerTile;
  const int64_t begin = block_index() % shape.ranges * perRange;
  // Blocks are in the order of their queries: the last has the most candidates.
  const int64_t end = smaller(begin + perRange, group.countOf(group.blocks - 1));
  if (begin >= end) return;

  const int batches = ceilDiv(group.pairs, shape.pairsPerBatch);
  const bool isAhead = shape.isAhead && batches > 1;
  if (isAhead || batches == 1) group.loadQueries(0, 0);
  int buffer = 0;
  for (int64_t tile = begin; tile < end; tile += shape.chunksPerTile) {
    const int64_t tileEnd = smaller(end, tile + shape.chunksPerTile);
    if (kIsResident) group.loadChunks(tile, tileEnd);
    for (int batch = 0; batch < batches; ++batch) {
      const bool isLast = batch == batches - 1;
      if (isAhead) {
        cp_async_commit();
        if (!isLast || tileEnd < end) group.loadQueries(isLast ? 0 : batch + 1, buffer ^ 1);
        cp_async_commit();
        cp_async_wait<1>();
      } else {
        if (batches > 1) group.loadQueries(batch, 0);
        cp_async_commit();
        cp_async_wait<0>();
      }
      sync_block();
      group.searchBatch(batch, buffer, tile, tileEnd);
      sync_block();
      if (isAhead) buffer ^= 1;
    }
  }
}

}  // namespace tilewise::cuda
