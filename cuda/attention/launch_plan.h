// LaunchPlan: how an attention problem is cut into blocks of threads, and which kernel takes it.
// Reader: someone who asks what runs where. No choice depends on the device or on the rest of the batch, so that
// results do not either.
#pragma once

#include <string>
#include <vector>

#include "../../core/op/backend.h"
#include "../machine/machine.h"
#include "params.h"
#include "sm80/tuning.h"

namespace tilewise::cuda {

constexpr int32_t kMaxDim = 4096;  // columns of values are computed kWideColumns at a time

struct LaunchPlan {
  KeyFeed feed;
  int dim, valueDim;  // of the kernel's tiles
  TileSizes sizes;
  int rows;  // of a tile of queries
  bool maySplit;  // keys may be cut into splits, if there are enough of them
  AttentionParams params;  // without the arrays on the device
  std::string kernel() const;
  int64_t tilesOf(Token queries) const;  // tiles of one map, for a sequence with so many queries
};

// The plan in explain()'s words: which tiles are visited or skipped, and why. `rank` is that of the caller's grid;
// plans count three axes.
TileChoice tilesOf(const LaunchPlan& plan, int rank);

// The plan for sequences of at most so many queries and keys, each of which would get the same plan alone.
LaunchPlan planLaunch(const AttentionProblem& problem, Token queries, Token keys);

// The sequences of one plan. Empty: all of them, and they are not packed.
struct PlannedSequences {
  LaunchPlan plan;
  std::vector<int32_t> sequences;
};
// `lengths` is the problem with lengths that the host can read. Packed sequences are sorted by the plan that
// each would get alone: the rest of the batch must not change a bit of the result.
std::vector<PlannedSequences> planSequences(const AttentionProblem& problem, const AttentionProblem& lengths);

}  // namespace tilewise::cuda
