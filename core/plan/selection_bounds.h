// Selection bounds: what a selection costs and keeps at most; which keys it keeps depends on the data, how many does
// not. Reader: someone who asks where explain()'s numbers for HiP come from. The rule is that of core/op/selection.h.
// Host only.
#pragma once

#include "../op/selection.h"

namespace tilewise {

// Of one head and batch entry, at most.
struct SelectionBounds {
  int64_t dots = 0;  // products of a query and a key
  int64_t kept = 0;  // keys that a query sees between its sinks and its window
};

// How often so many are halved until one is left.
inline int64_t halvings(int64_t count) {
  int64_t halvings = 0;
  while ((int64_t(1) << halvings) < count) ++halvings;
  return halvings;
}

inline int64_t keptBy(const SelectionStage& stage) { return int64_t(stage.keep) * stage.chunk; }

// The products of one sampled query with so many candidates.
inline int64_t dotsOf(const SelectionProblem& p, int32_t s, int64_t candidates) {
  const SelectionStage& stage = p.stage[s];
  if (p.method == SelectionMethod::tree) {
    const int64_t blocks = ceilDiv<int64_t>(candidates, stage.chunk);
    if (blocks <= stage.keep) return 0;
    // Both halves of every range, level by level.
    const int64_t perHalf = ceilDiv(stage.chunk, p.strideKeys);
    return 2 * stage.keep * perHalf * halvings(ceilDiv<int64_t>(blocks, stage.keep));
  }
  if (s > 0) candidates = smaller(candidates, keptBy(p.stage[s - 1]));
  // Two per halving; a chunk of one key takes one.
  return ceilDiv<int64_t>(candidates, stage.chunk) * larger<int64_t>(1, 2 * halvings(stage.chunk));
}

inline SelectionBounds boundsOf(const SelectionProblem& p) {
  SelectionBounds bounds;
  bounds.kept = keptBy(p.stage[0]);
  for (int32_t s = 0; s < p.stages; ++s) {
    bounds.kept = smaller(bounds.kept, keptBy(p.stage[s]));
    for (Token block = 0; block < p.blocks(s); ++block) {
      const Range queries = p.queriesOf(s, block);
      const int64_t sampledRows = ceilDiv(queries.size(), p.stage[s].strideQueries);
      bounds.dots += sampledRows * dotsOf(p, s, p.candidates(0, queries).size());
    }
  }
  return bounds;
}

}  // namespace tilewise
