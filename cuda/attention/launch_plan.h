// How an attention problem is cut into blocks, and which kernel takes it. Reader: someone who asks what runs where.
// No choice depends on what else is in the batch or on the device, so that results do not either.
#pragma once

#include <string>
#include <vector>

#include "../../core/op/backend.h"
#include "../machine/machine.h"
#include "params.h"
#include "sm80/tuning.h"

namespace tilewise::gpu {

constexpr int32_t kMaxDim = 256;

struct LaunchPlan {
  KeyFeed feed;
  int dim;  // of the kernel's tiles
  TileSizes sizes;
  int rows;  // of a tile of queries
  bool maySplit;  // keys may be cut, as far as there are enough of them
  AttentionParams params;  // but for what lies on the device
  std::string kernel() const;
  int64_t tilesOf(Token queries) const;  // of one map, for a sequence with so many queries
};

// The plan in the planner's words, for explain(): what is visited or skipped as one, and why. `rank`: of the grid, as
// the caller counts its axes; plans count three.
TileChoice tilesOf(const LaunchPlan& plan, int rank);

// For sequences of at most so many queries and keys, all of which would be planned alike by themselves.
LaunchPlan planLaunch(const AttentionProblem& problem, Token queries, Token keys);

// Sequences that one plan takes; empty: all of them, none of which is packed.
struct PlannedSequences {
  LaunchPlan plan;
  std::vector<int32_t> sequences;
};
// `lengths`: the problem with cuQueries and cuKeys as the host reads them. Packed sequences are sorted by how each
// would be planned alone: what else is in the batch must not change a bit of the result.
std::vector<PlannedSequences> planSequences(const AttentionProblem& problem, const AttentionProblem& lengths);

}  // namespace tilewise::gpu
