// Tiling: how the queries of one sequence are cut into tiles, and which of the loops takes them.
// Reader: someone who wants to know what runs where. No choice here changes a bit of the result with the number of
// threads or with what else is in the batch.
#pragma once

#include "../../core/op/backend.h"
#include "../runtime/kernels.h"

namespace tilewise::cpu {

struct Tiling {
  TileMap map;      // of the first KV head
  int32_t maps;     // how many such maps there are, one for each group of heads that shares tiles
  bool isGrid;      // tiles are boxes of places
  bool isDecode;    // few rows: the decode loop takes them, split over keys
  const TileKernels* kernels;
  TileShape shape;  // most rows of a tile, keys per block
  bool alignsBlocks, readsInPlace;
  int64_t inPlaceReach;  // windows: those that reach this far are not read in place; else 0
  int64_t tiles;    // per map
  int64_t rowsPerBlock;  // tiles do not cross multiples of this: queries of a block of lists
  // Grids: queries of a panel and of a tile, and tiles per dilation group.
  Token panel[kMaxRank], box[kMaxRank], perAxis[kMaxRank];

  // Tile `index` of map `group`.
  TileTask task(const AttentionProblem& problem, const Sequence& sequence, int32_t group, int64_t index,
                const Pause& pause) const;
};

Tiling tilingOf(const AttentionProblem& problem, const Sequence& sequence, const Kernels& kernels, int threads);

// KV heads whose keys lie beside each other in a token's memory and are read together, in the order they lie in.
int32_t headsBeside(const AttentionProblem& problem);

// What the loops visit or skip as one for a problem, for explain().
TileChoice tilesFor(const AttentionProblem& problem, const Kernels& kernels);

}  // namespace tilewise::cpu
