// Work: what one block of threads does: which tile of which sequence, for which heads, over which part of the keys.
// Reader: someone who follows the number of a block to rows of queries.
#pragma once

#include "../prims/prims.h"
#include "params.h"

namespace tilewise::cuda {

struct Work {
  int32_t index;  // of the sequence
  Sequence sequence;
  TileMap map;
  uint32_t tile;
  int32_t split;
  Range clip;  // keys of this split; grids and lists of sequences count tokens alike
};

// Splits count fastest, then tiles, then heads, then sequences: blocks that run at the same time share keys in the L2.
__device__ __forceinline__ Work workOf(const AttentionParams& p, uint32_t block) {
  Work work;
  work.split = int32_t(block % p.splits);
  block /= p.splits;
  uint32_t tiles = p.tiles;
  if (p.tileStarts) {
    // The block's sequence is the last whose tiles, times the maps, start at or before it.
    int32_t low = 0, high = p.problem.sequences;
    while (high - low > 1) {
      const int32_t middle = (low + high) / 2;
      (p.tileStarts[middle] * p.maps <= int64_t(block) ? low : high) = middle;
    }
    work.index = low;
    tiles = uint32_t(p.tileStarts[low + 1] - p.tileStarts[low]);
    block -= uint32_t(p.tileStarts[low] * p.maps);
  } else {
    work.index = int32_t(block / (tiles * p.maps));
    block %= tiles * p.maps;
  }
  work.map = p.map.next(int32_t(block / tiles));
  work.tile = block % tiles;
  if (p.isHeaviestFirst) work.tile = tiles - 1 - work.tile;
  work.sequence = p.problem.sequence(work.index);
  work.clip = {work.sequence.keyStart, kMaxTokens};
  if (p.splits > 1) work.clip = intersect(work.clip, {work.split * p.splitKeys, (work.split + 1) * p.splitKeys});
  return work;
}

}  // namespace tilewise::cuda
