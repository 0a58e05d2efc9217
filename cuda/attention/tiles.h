// How large tiles are: the one table to tune. Reader: someone with a GPU and a benchmark.
// Shared memory stays below 99 KB a block, what sm_86, sm_89 and sm_120 have, so that one choice serves all.
#pragma once

#include "../prims/types.h"

namespace tilewise::gpu {

// Which kernel: a stream of tokens (dense windows), a gather (every other pattern, pages), or few queries on many keys.
enum class Way { stream, gather, decode };

struct TileSizes {
  int rowTiles;  // of 16 queries, per warp
  int warps;
  int keys;      // per visit
  int perMultiprocessor;  // blocks; limits registers
};

// Reasons: 'budget' means registers or shared memory allow no more; the rest is not measured yet.
template <class E>
constexpr TileSizes tileSizes(int dim, Way way) {
  const bool isHalf = sizeof(E) == 2;
  if (way == Way::decode) {
    // Warps divide the keys of a visit; its rows must hold the warps' outputs at the end (epilogue.h).
    return isHalf ? TileSizes{1, 4, 64, dim <= 128 ? 3 : 2} : TileSizes{1, 4, 32, dim <= 128 ? 3 : 2};
  }
  if (!isHalf) return {1, 4, dim <= 128 ? 32 : 16, dim <= 96 ? 2 : 1};
  if (way == Way::gather) return {1, 4, 64, dim <= 64 ? 3 : dim <= 128 ? 2 : 1};
  // Two row tiles per warp halve the fragment loads of keys; from 192 dims on their outputs exceed the registers.
  if (dim <= 128) return {2, 4, 64, 2};
  return {1, dim == 192 ? 8 : 4, 64, dim == 192 ? 1 : 2};
}

}  // namespace tilewise::gpu
