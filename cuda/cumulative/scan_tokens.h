// Softmax over all tokens so far, token by token: a column of the values to a thread.
// Reader: see core/op/cumulative.h for the rule. Bound by memory: values of several tokens are loaded before the first
// of them is needed. Every thread of a block follows the scores, which are the same for all of its columns.
#pragma once

#include "../../core/base/softmax.h"
#include "../tiles/row_piece.h"
#include "params.h"

namespace tilewise::cuda {

// A sum of weighted values in one column.
struct ColumnSum {
  SoftmaxState state;
  float weighted = 0;

  __device__ __forceinline__ void join(const SoftmaxState& from, float value) {
    const MergeFactors f = merge(state, from);
    weighted = weighted * f.into + value * f.from;
  }
};

struct CumulativeWork {
  int64_t task, batch;
  int32_t head, group, column;
  Token begin, end;

  __device__ __forceinline__ explicit CumulativeWork(const CumulativeParams& p) {
    const int64_t block = p.firstBlock + block_index();
    task = block / p.columnBlocks / p.groups;
    group = int32_t(block / p.columnBlocks % p.groups);
    column = int32_t(block % p.columnBlocks) * kCumulativeThreads + int32_t(thread_index());
    batch = task / p.problem.heads;
    head = int32_t(task % p.problem.heads);
    begin = Token(smaller<int64_t>(p.problem.tokens, int64_t(group) * p.groupTokens));
    end = Token(smaller<int64_t>(p.problem.tokens, int64_t(begin) + p.groupTokens));
  }
};

// To a slot.
__device__ __forceinline__ void storeSum(const ColumnSum& sum, int32_t column, float* slot) {
  st_global(slot + 2 + column, sum.weighted);
  if (column > 0) return;
  st_global(slot, sum.state.max);
  st_global(slot + 1, sum.state.sum);
}

// doesWrite: outputs, else the group's sum alone, which goes to its slot.
template <class E, bool doesWrite>
__device__ __forceinline__ void scanTokens(const CumulativeParams& params) {
  const CumulativeScan& p = params.problem;
  const CumulativeWork work(params);
  const bool exists = work.column < p.valueDim;
  if (!doesWrite && !p.after.max && work.group + 1 == params.groups) return;  // nobody asks for its sum
  ColumnSum before, chunk;
  if (doesWrite && params.isSplit && exists) {
    const float* const slot = params.begin(work.task, work.group);
    before = {{slot[0], slot[1]}, slot[2 + work.column]};
  } else if (doesWrite && p.before.max && exists) {
    before = {{p.before.max[work.task], p.before.sum[work.task]},
              p.before.weighted[work.task * p.valueDim + work.column]};
  }
  sync_block();  // the state behind the last token may be in the same place
  if (!exists) return;
  const float* const scores = p.scores + work.batch * p.scoreBatch + work.head * p.scoreHead;
  const auto rowOf = [&](const Operand& rows, Token t) {
    return static_cast<E*>(rows.data) + rows.offset(work.batch, t, work.head) + work.column * rows.dim;
  };
#pragma unroll 1
  for (Token first = work.begin; first < work.end; first += kCumulativeAhead) {
    float score[kCumulativeAhead], value[kCumulativeAhead];
#pragma unroll
    for (int i = 0; i < kCumulativeAhead; ++i) {
      const bool exists = first + i < work.end;
      score[i] = exists ? scores[(first + i) * p.scoreToken] : -INFINITY;
      // What is hidden is not read: it could only add NaN.
      value[i] = score[i] != -INFINITY ? RowPiece<E>::numberOf(*rowOf(p.value, first + i)) : 0;
    }
#pragma unroll
    for (int i = 0; i < kCumulativeAhead; ++i) {
      const Token t = first + i;
      if (t >= work.end) continue;
      chunk.join({score[i], 1}, value[i]);
      if constexpr (doesWrite) {
        SoftmaxState seen = before.state;
        const MergeFactors f = merge(seen, chunk.state);
        RowPiece<E>::round((before.weighted * f.into + chunk.weighted * f.from) * seen.outputScale(), *rowOf(p.out, t));
        if (p.lse && work.column == 0) {
          st_global(p.lse + work.batch * p.lseBatch + work.head * p.lseHead + t * p.lseToken, seen.lse());
        }
      }
      if ((t + 1) % kCumulativeChunkTokens != 0) continue;
      before.join(chunk.state, chunk.weighted);
      chunk = {};
    }
  }
  before.join(chunk.state, chunk.weighted);
  if constexpr (!doesWrite) {
    storeSum(before, work.column, params.left(work.task, work.group));
  } else if (p.after.max && !params.isSplit) {
    st_global(p.after.weighted + work.task * p.valueDim + work.column, before.weighted);
    if (work.column > 0) return;
    st_global(p.after.max + work.task, before.state.max);
    st_global(p.after.sum + work.task, before.state.sum);
  }
}

// What groups leave becomes what the groups behind them begin with: a block for each task.
__device__ __forceinline__ void carrySums(const CumulativeParams& params) {
  const CumulativeScan& p = params.problem;
  const int64_t task = params.firstBlock + block_index();
  ColumnSum carried;
#pragma unroll 1
  for (int32_t column = int32_t(thread_index()); column < p.valueDim; column += kCumulativeThreads) {
    carried = {};
    if (p.before.max) {
      carried = {{p.before.max[task], p.before.sum[task]}, p.before.weighted[task * p.valueDim + column]};
    }
#pragma unroll 1
    for (int32_t group = 0; group < params.groups; ++group) {
      storeSum(carried, column, params.begin(task, group));
      if (!p.after.max && group + 1 == params.groups) break;
      const float* const left = params.left(task, group);
      carried.join({left[0], left[1]}, left[2 + column]);
    }
    if (p.after.max) st_global(p.after.weighted + task * p.valueDim + column, carried.weighted);
  }
  sync_block();  // the state before may be in the same place
  if (!p.after.max || thread_index() != 0) return;
  st_global(p.after.max + task, carried.state.max);
  st_global(p.after.sum + task, carried.state.sum);
}

}  // namespace tilewise::cuda
