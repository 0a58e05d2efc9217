// How an attention problem is cut into blocks, and which kernel takes it. Reader: someone who asks what runs where.
// No choice depends on what else is in the batch or on the device, so that results do not either.
#pragma once

#include <string>

#include "../../core/backend.h"
#include "../machine.h"
#include "params.h"
#include "tiles.h"

namespace tilewise::gpu {

constexpr int32_t kMaxDim = 256;

struct AttentionPlan {
  Way way;
  int dim;  // of the kernel's tiles
  TileSizes sizes;
  int rows;  // of a tile of queries
  AttentionParams params;  // but for what lies on the device
  int64_t tilesOfAll;  // of one map, over all sequences
  std::string kernel() const;
};

// The plan in the planner's words, for explain(): what is visited or skipped as one, and why. `rank`: of the grid, as
// the caller counts its axes; plans count three.
TileChoice tilesOf(const AttentionPlan& plan, int rank);

// `lengths`: the problem with cuQueries, cuKeys and keyLengths as the host reads them.
AttentionPlan planAttention(const Problem& problem, const Problem& lengths);

}  // namespace tilewise::gpu
