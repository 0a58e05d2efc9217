// Candidates and lists: the steps of a stage around its scores. Reader: see core/op/selection.h for the rule.
//
//   staged, later stages: splitLists() -> scores -> keepChunks();  first stage: scores -> keepChunks()
//   tree: halveRanges(), which begins -> scores -> halveRanges(), again and again; the last one writes the list
#pragma once

#include "../tiles/best.h"
#include "methods.h"

namespace tilewise::cuda {

// The chunks of a block's list in the stage before, cut into this stage's, by a warp. That list is memory of the
// caller's: whatever it holds, the tokens that come out are candidates and ascend.
__device__ __forceinline__ void splitLists(const SelectionParams& p) {
  const int64_t slot = int64_t(block_index()) * (kSplitThreads / 32) + warp_id();
  if (slot >= p.slots) return;
  const Place place(p, slot);
  if (!place.exists) return;
  const SelectionProblem& problem = p.problem;
  const SelectionStage &from = problem.stage[p.stage - 1], &to = p.now();
  const Token end = problem.candidates(place.batch, problem.queriesOf(p.stage, place.block)).end;
  const int64_t parent = problem.listAt(p.stage - 1, place.batch, place.list,
                                        Token(int64_t(place.block) * to.blockQueries / from.blockQueries));
  const int32_t* const parents = from.starts + parent * from.keep;
  const Token count = clamp<Token>(from.counts[parent], 0, from.keep);

  Token* const starts = p.starts + slot * p.candidates;
  int32_t written = 0;
  Token least = problem.sink;  // where the next chunk may start
  for (Token base = 0; base < count; base += 32) {
    const Token i = base + lane_id(), entry = i < count ? parents[i] : kNoEntry;
    bool isTaken = false;
    Token before = shfl_up(entry, 1);
    // As they are written, chunks follow each other and only the end cuts them off. Else one after the other.
    if (ballot(lane_id() == 0 ? entry < least : int64_t(entry) - before < from.chunk && entry < end) == 0) {
      isTaken = entry < end;
      const uint32_t taken = ballot(isTaken);
      if (taken == 0) continue;
      const Token last = shfl(entry, popc(taken) - 1);
      least = last + smaller(from.chunk, end - last);
    } else {
      for (int lane = 0; lane < 32; ++lane) {
        const Token first = shfl(entry, lane);
        if (first < least || first >= end) continue;
        isTaken |= lane == lane_id();
        least = first + smaller(from.chunk, end - first);
      }
    }
    const Token length = isTaken ? smaller(from.chunk, end - entry) : 0;
    const int32_t pieces = ceilDiv(length, to.chunk);
    int32_t upTo = pieces;
    for (int delta = 1; delta < 32; delta *= 2) {
      const int32_t below = shfl_up(upTo, delta);
      if (lane_id() >= delta) upTo += below;
    }
    for (int32_t piece = 0; piece < pieces; ++piece) {
      starts[written + upTo - pieces + piece] = entry + piece * to.chunk;
    }
    written += shfl(upTo, 31);
  }
  if (lane_id() == 0) p.counts[slot] = written;
}

// The best of all heads counts: ranks of a slot's candidates, in place of those of the list's first head.
__device__ __forceinline__ const uint32_t* joinHeads(const SelectionParams& p, int64_t slot, int64_t count) {
  const int32_t heads = p.problem.headsPerList;
  uint32_t* const ranks = p.ranks + slot * heads * p.candidates;
  if (heads == 1) return ranks;
  for (int64_t i = thread_index(); i < count; i += kListThreads) {
    uint32_t best = ranks[i];
    for (int32_t head = 1; head < heads; ++head) best = larger(best, ranks[head * p.candidates + i]);
    ranks[i] = best;
  }
  return ranks;
}

// Behind the list's n entries, and how many they are.
__device__ __forceinline__ void finishList(const SelectionStage& stage, int64_t list, int64_t n) {
  for (int64_t i = n + thread_index(); i < stage.keep; i += kListThreads)
    stage.starts[list * stage.keep + i] = kNoEntry;
  if (thread_index() == 0) stage.counts[list] = int32_t(n);
}

__device__ __forceinline__ void keepChunks(const SelectionParams& p) {
  const int64_t slot = block_index();
  const Place place(p, slot);
  if (!place.exists) return;
  const SelectionStage& stage = p.now();
  const Range keys = p.problem.candidates(place.batch, p.problem.queriesOf(p.stage, place.block));
  const int64_t count = StagedSearch::count(p, slot, keys);
  const int64_t list = p.problem.listAt(p.stage, place.batch, place.list, place.block);
  BlockSums sums;
  forEachBest(joinHeads(p, slot, count), count, stage.keep, sums, [&](int64_t i, int64_t entry) {
    stage.starts[list * stage.keep + entry] = StagedSearch::startOf(p, slot, i);
  });
  finishList(stage, list, smaller<int64_t>(count, stage.keep));
}

// A round of tree: the best halves are kept, then halved. Ranges of one block stay; when there are no others, no halves
// are left to score, and further rounds change nothing.
__device__ __forceinline__ void halveRanges(const SelectionParams& p) {
  const int64_t slot = block_index();
  const Place place(p, slot);
  if (!place.exists) return;
  const SelectionStage& stage = p.now();
  const Range keys = p.problem.candidates(place.batch, p.problem.queriesOf(p.stage, place.block));
  const int64_t blocks = ceilDiv<int64_t>(keys.size(), stage.chunk), n = smaller<int64_t>(blocks, stage.keep);
  Range* const kept = p.kept + slot * p.candidates;
  Range* const halves = p.halves + slot * p.candidates;
  BlockSums sums;
  if (p.isFirst) {
    for (int64_t j = thread_index(); j < n; j += kListThreads) {
      kept[j] = {Token(j * blocks / n), Token((j + 1) * blocks / n)};
    }
  } else if (const int64_t count = p.counts[slot]) {
    forEachBest(joinHeads(p, slot, count), count, n, sums, [&](int64_t i, int64_t j) { kept[j] = halves[i]; });
  }
  sync_block();
  if (p.isLast) {
    const int64_t list = p.problem.listAt(p.stage, place.batch, place.list, place.block);
    for (int64_t j = thread_index(); j < n; j += kListThreads) {
      stage.starts[list * stage.keep + j] = Token(keys.begin + int64_t(kept[j].begin) * stage.chunk);
    }
    return finishList(stage, list, n);
  }
  int64_t halved = 0;  // ranges so far that fell into two
  for (int64_t base = 0; base < n; base += kListThreads) {
    const int64_t j = base + thread_index();
    const Range range = j < n ? kept[j] : Range{0, 0};
    const bool isTwo = range.size() > 1;
    const uint32_t two = ballot(isTwo);
    int32_t before[1], all[1];
    sums.add({popc(two)}, before, all);
    const int64_t at = j + halved + before[0] + lanesBelow(two);
    const Token middle = range.begin + range.size() / 2;
    if (isTwo) {
      halves[at] = {range.begin, middle};
      halves[at + 1] = {middle, range.end};
    } else if (j < n) {
      halves[at] = range;
    }
    halved += all[0];
  }
  if (thread_index() == 0) p.counts[slot] = halved == 0 ? 0 : int32_t(n + halved);
}

}  // namespace tilewise::cuda
