// attend(): the fused loop for tensor cores that a warp feeds itself (mma.sync: sm_80 and everything after it).
// Reader: start at attend() at the end. Scores never leave registers. Warps divide the queries; with few queries they
// divide the keys instead and never wait for each other. Idea: FlashAttention-2 (arXiv 2307.08691).
#pragma once

#include "../non_finite.h"
#include "../online_softmax.h"
#include "../scores.h"
#include "copy_rows.h"
#include "epilogue.h"
#include "pipeline.h"
#include "products.h"

namespace tilewise::cuda {

template <class L>
__device__ __forceinline__ auto blockQueries(const AttentionParams& p, const Work& work,
                                             const typename L::Pattern& pattern) {
  if constexpr (L::kGathers) {
    return queriesOf(p, work, pattern, L::kRows);
  } else {
    return TokenQueries(work, L::kRows);
  }
}

// Scores become weights, and the outputs follow: O = rescale * O + P V.
template <class L>
__device__ __forceinline__ void accumulate(RegisterTile<L::kRowTiles, L::kValueDim>& output,
                                           OnlineSoftmax<2 * L::kRowTiles>& softmax,
                                           RegisterTile<L::kRowTiles, L::kWarpKeys>& scores, const AttentionParams& p,
                                           const Work& work, const Repair<L>& repair) {
  repair.noteSeen(scores);
  float rescale[2 * L::kRowTiles];
  if (!L::kGathers || p.problem.activation.isSoftmax()) {
    softmax.step(scores, p.scale.inSoftmax, rescale);
  } else {
    softmax.activate(scores, p.problem.activation, p.problem.sequence(work.index).keysInUse(), rescale);
  }
  const typename Mma<typename L::E>::template Weights<L::kRowTiles, L::kWarpKeys> weights(scores);
  output.scaleRows(rescale);
  repair.replaceValues(output);
  addValues<L>(output, weights);
}

// Whether the gate closes all rows of a tile; the answer is that of the whole block. Tiles have few rows: every warp
// looks at all of them.
template <class Q>
__device__ __forceinline__ bool areClosed(const AttentionParams& p, const Work& work, const Q& queries) {
  if (!p.problem.skipsClosedRows()) return false;
  bool isOpen = false;
  for (int row = lane_id(); row < queries.count; row += 32)
    isOpen |= !p.problem.gate.closes(outputRowOf(work.sequence, queries.at(row)));
  return ballot(isOpen) == 0;
}

template <class L>
__device__ __forceinline__ void attend(const AttentionParams& p) {
  Work work = workOf(p, block_index());
  if constexpr (!L::kHasSinksAfterStart) work.sequence.keyStart = 0;  // the clip has it, and nothing else asks
  typename L::Pattern pattern;
  patternOf(p, work, pattern);
  const auto queries = blockQueries<L>(p, work, pattern);
  if (queries.count == 0) return;
  // A tile that is closed visits no keys, and what it writes is 0.
  Token extras = L::kHasExtraKeys ? p.problem.extraTokens : 0;
  if constexpr (L::kGathers) {
    if (areClosed(p, work, queries)) {
      work.clip = {};
      extras = 0;
    }
  }

  copyQueries<L::kThreads>(L::queries(), p, work, queries);
  Pipeline<L> pipeline(p, work, pattern, queries.box(), extras);
  const ScoreScale& scale = p.scale;
  OnlineSoftmax<2 * L::kRowTiles> softmax;
  RegisterTile<L::kRowTiles, L::kValueDim> output;
  output.setZero();

  pipeline.start();
  for (bool isFirst = pipeline.kStartsInLoop; isFirst || pipeline.hasVisit(); isFirst = false) {
    RegisterTile<L::kRowTiles, L::kWarpKeys> scores;
    Repair<L> repair;
    if (!isFirst) {
      pipeline.fetchValues();
      multiplyKeys<L>(scores);
      const bool isMasked = applyRules<L>(scores, p, work, pattern, queries, pipeline.visit(), scale);
      repair.isNeeded = pipeline.waitForValues(isMasked);
    }
    pipeline.fetchKeys();
    if (!isFirst) accumulate<L>(output, softmax, scores, p, work, repair);
    pipeline.waitForKeys(isFirst);
  }
  finish<L>(p, work, queries, softmax, output, scale);
}

}  // namespace tilewise::cuda
