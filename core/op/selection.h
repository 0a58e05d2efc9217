// SelectionProblem: hierarchically pruned selection, which keys between the sinks and the window each block of queries
// attends to. Reader: backend authors; filled by the binding, as AttentionProblem is. Ideas: InfiniteHiP (arXiv
// 2502.08910) for `staged`, HiP (arXiv 2406.09827) for `tree`.
//
// Queries are at the end of the keys. A query block's candidates are the keys [sink, end) that are outside the window
// of its last query, so with window >= the block's queries no query of it comes before a candidate. A key's score is
// its largest product with the block's sampled queries, NaN counting as -inf; ties go to the lower token everywhere.
//
// staged: the candidates are cut into chunks from the sink on. A chunk is searched by halving: of the keys at the
// centres of both halves the better one says where to go on, and the best score on the way is the chunk's, the largest
// over the list's heads. The best chunks are kept, cut into the next stage's chunks, and so on.
// tree: the candidates are cut into blocks of `chunk` keys, and these into ranges. A range's score is that of the block
// in its middle, the best of its sampled keys. Ranges are halved and the best halves kept, until every range is one
// block.
#pragma once

#include "../base/box.h"
#include "attention.h"

namespace tilewise {

enum class SelectionMethod : int32_t { staged = 0, tree = 1 };

constexpr int32_t kMaxSelectionStages = 8;
// What entries past a list's count hold.
constexpr int32_t kNoEntry = 0x7fffffff;

struct SelectionStage {
  Token blockQueries = 1;  // queries that share a list
  Token strideQueries = 1;  // queries per group, of which the last is scored
  Token chunk = 1;  // keys per entry of the list
  Token keep = 1;  // entries kept, the length of every list
  // [batch][list][query block][keep]: first tokens, ascending; [batch][list][query block]: how many. Written by the
  // stages that run; the stage before the first of them is read, and may hold anything.
  Placed<int32_t> starts = nullptr;
  Placed<int32_t> counts = nullptr;
};

struct SelectionProblem {
  int32_t batch = 0, queryHeads = 0, kvHeads = 0;
  Token queries = 0, keys = 0;
  int32_t headDim = 0;
  DType dtype = DType::float32;  // of query
  DType keyType = DType::float32;  // of key, as in attention.h
  Operand query, key;
  KeyStore store;  // where the rows of key are; a table's rows are batch entries
  Pairing pairing = Pairing::tile;
  const int32_t* keyLengths = nullptr;  // [batch] keys in use; null: all

  Token sink = 0, window = 1;
  int32_t headsPerList = 1;  // consecutive output heads that share a list
  SelectionMethod method = SelectionMethod::staged;
  Token strideKeys = 1;  // tree: of a block's keys every so manieth is scored
  // tree: one stage, whose chunks are the blocks of keys.
  int32_t stages = 1, firstStage = 0;
  SelectionStage stage[kMaxSelectionStages];

  bool isEmpty() const { return batch == 0 || queries == 0; }

  TW_HOST_DEVICE int32_t outputHeads() const { return larger(queryHeads, kvHeads); }
  TW_HOST_DEVICE int32_t kvHeadOf(int32_t head) const { return int32_t(int64_t(head) * kvHeads / outputHeads()); }
  TW_HOST_DEVICE int32_t queryHeadOf(int32_t head) const {
    if (kvHeads <= queryHeads) return head;
    return pairing == Pairing::tile ? head % queryHeads : int32_t(int64_t(head) * queryHeads / kvHeads);
  }
  TW_HOST_DEVICE StoredRows keyRowsOf(int32_t b, int32_t head) const { return store.rowsOf(key, b, 0, kvHeadOf(head)); }
  TW_HOST_DEVICE int32_t lists() const { return outputHeads() / headsPerList; }
  TW_HOST_DEVICE Token blocks(int32_t s) const { return ceilDiv(queries, stage[s].blockQueries); }
  TW_HOST_DEVICE int64_t listAt(int32_t s, int32_t b, int32_t list, Token block) const {
    return (int64_t(b) * lists() + list) * blocks(s) + block;
  }

  TW_HOST_DEVICE Range queriesOf(int32_t s, Token block) const {
    const Token first = block * stage[s].blockQueries;
    return {first, smaller<Token>(queries - first, stage[s].blockQueries) + first};
  }
  // The candidates of a block of queries.
  TW_HOST_DEVICE Range candidates(int32_t b, const Range& block) const {
    const Token used = keyLengths ? keyLengths[b] : keys;
    return {sink, larger(sink, smaller(used, used - queries + block.end - window))};
  }
};

// Row g of sample(begin, end, stride): the last of every group.
TW_HOST_DEVICE Token sampled(const Range& range, Token stride, Token g) {
  return smaller<Token>(range.end - range.begin, (g + 1) * stride) + range.begin - 1;
}

}  // namespace tilewise
