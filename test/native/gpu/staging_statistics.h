// Staging of statistics and summaries: results of any choice, rows that a call leaves as they are. Reader: see
// staging_checks.cc.
#pragma once

#include <string>
#include <vector>

#include "staging_case.h"

namespace tilewise {

inline void checkStats(Backend& backend, uint32_t seed, bool toDevice) {
  Disturber disturber(machine, seed, toDevice);
  StatsProblem p;
  p.batch = 1 + disturber.pick(2);
  p.kvHeads = 1 + disturber.pick(2);
  p.queryHeads = p.kvHeads * (1 + disturber.pick(2));
  p.queries = 1 + disturber.pick(20);
  p.keys = 1 + disturber.pick(40);
  p.headDim = 1 + disturber.pick(20);
  p.isCausal = true;
  nameOfCase = "statistics, seed " + std::to_string(seed) + (toDevice ? " mixed" : "");
  Numbers numbers(disturber);
  const auto rows = [&](Operand& o, int64_t tokens, int64_t heads) {
    o = {numbers(p.batch * tokens * heads * p.headDim), tokens * heads * p.headDim, heads * p.headDim, p.headDim, 1};
    disturber(rowsOf(o, p.batch, tokens, heads, p.headDim, p.dtype), true);
  };
  rows(p.query, p.queries, p.queryHeads);
  rows(p.key, p.keys, p.kvHeads);
  std::vector<int32_t> lengths;
  if (disturber.pick(2)) {
    for (int32_t b = 0; b < p.batch; ++b) lengths.push_back(disturber.pick(p.keys + 1));
    p.keyLengths = lengths.data();
  }
  int64_t one = 1;
  const auto list = [&](auto& array, int64_t count) {
    if (disturber.pick(3) == 0) return;
    array = numbers(count);
    disturber.list(floatsOf(array, {{count, &one}}));
  };
  const int64_t heads = int64_t(p.batch) * p.queryHeads, all = heads * p.queries, keys = int64_t(p.batch) * p.keys;
  p.topK = 1 + disturber.pick(5);
  p.blockQueries = 1 + disturber.pick(9);
  p.blockKeys = 1 + disturber.pick(9);
  list(p.givenLse, all);
  if (!p.givenLse) list(p.lse, all);
  list(p.keySum, keys);
  list(p.keySumOverQueries, heads * p.keys);
  list(p.keyMaxOverHeads, keys);
  list(p.blockSum, heads * p.queryBlocks() * p.keyBlocks());
  list(p.diagSum, heads * p.keys);
  list(p.probs, all * p.keys);
  list(p.scores, all * p.keys);
  std::vector<int32_t> indices(size_t(all * p.topK));
  p.topIndices = indices.data();
  p.topProbs = numbers(all * p.topK);
  disturber.list(floatsOf(p.topProbs, {{all * p.topK, &one}}));
  disturber.result(p.topIndices, size_t(all * p.topK));
  compare(backend, p, disturber);
}

// Rows of no run stay as they are, wherever they lie.
inline void checkSummary(Backend& backend, uint32_t seed, bool toDevice) {
  Disturber disturber(machine, seed, toDevice);
  SummaryProblem p;
  p.batch = 1 + disturber.pick(2);
  p.heads = 1 + disturber.pick(3);
  p.tokens = 1 + disturber.pick(40);
  p.headDim = 1 + disturber.pick(20);
  p.rows = 1 + disturber.pick(6);
  nameOfCase = "summaries, seed " + std::to_string(seed) + (toDevice ? " mixed" : "");
  Numbers numbers(disturber);
  const int64_t row = int64_t(p.heads) * p.headDim;
  p.key = {numbers(p.batch * p.tokens * row), p.tokens * row, row, p.headDim, 1};
  disturber(rowsOf(p.key, p.batch, p.tokens, p.heads, p.headDim, p.type), true);
  std::vector<SummaryRun> runs;
  for (int32_t r = 0; r < p.rows; ++r) {
    const int32_t first = disturber.pick(p.tokens);
    if (disturber.pick(3)) runs.push_back({disturber.pick(p.batch), first, 1 + disturber.pick(p.tokens - first), r});
  }
  p.runs = runs.data();
  p.runCount = int64_t(runs.size());
  int64_t one = 1;
  Placed<float> bounds = numbers(p.rows * 2 * row);
  disturber.list(floatsOf(bounds, {{p.rows * 2 * row, &one}}));
  p.bounds = bounds.as<void>();
  p.means = numbers(p.rows * row);
  disturber.list(floatsOf(p.means, {{p.rows * row, &one}}));
  compare(backend, p, disturber);
}

}  // namespace tilewise
