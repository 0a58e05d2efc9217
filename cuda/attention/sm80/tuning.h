// How large the tiles of sm80 kernels are, and what they take of the shared memory: the one table to tune.
// Reader: someone with a GPU and a benchmark. Host and device read the same numbers. A block stays below 99 KB of
// shared memory, which is what sm_86, sm_89 and sm_120 have, so that one choice serves all.
#pragma once

#include "../../../core/base/platform.h"

namespace tilewise::cuda {

// Which kernel: stream (dense windows), gather (every other pattern, pages) or decode (few queries, many keys).
enum class KeyFeed { stream, gather, decode };

struct TileSizes {
  int rowTiles;  // of 16 queries, per warp
  int warps;
  int keys;  // per visit
  int perMultiprocessor;  // blocks; limits registers
};

// Reasons: 'budget' means that registers or shared memory allow no more. Rows without a reason are not measured.
TW_HOST_DEVICE constexpr TileSizes tileSizes(int elementBytes, int dim, KeyFeed feed) {
  const bool isHalf = elementBytes == 2;
  // Warps divide the keys of a visit, at least 16 each. In the end the warps' outputs must fit in the memory of keys
  // and values (epilogue.h).
  if (feed == KeyFeed::decode)
    return isHalf ? TileSizes{1, 4, 64, dim <= 64 ? 4 : 2} : TileSizes{1, 2, 32, dim <= 96 ? 4 : 2};
  if (!isHalf) return {1, 4, dim <= (feed == KeyFeed::gather ? 64 : 128) ? 32 : 16, dim <= 96 ? 2 : 1};
  if (feed == KeyFeed::gather) return {1, 4, dim <= 128 ? 64 : 32, dim <= 32 ? 3 : dim <= 128 ? 2 : 1};
  // Two row tiles per warp halve the fragment loads of keys; from 192 dims on their outputs exceed the registers.
  if (dim <= 128) return {2, 4, 64, 2};
  return {1, dim == 192 ? 8 : 4, 64, dim == 192 ? 1 : 2};
}

// Queries of a tile. Warps that divide the keys share their rows.
TW_HOST_DEVICE constexpr int tileRows(const TileSizes& sizes, KeyFeed feed) {
  return 16 * sizes.rowTiles * (feed == KeyFeed::decode ? 1 : sizes.warps);
}

// Where a block of threads keeps what in shared memory, in bytes from its start. Queries come first.
struct SharedLayout {
  int keys, values;
  int seen;  // a bit for every score, see non_finite.h
  int slots;  // a KeySlot for each key of a visit
  int bytes;
};
TW_HOST_DEVICE constexpr SharedLayout sharedLayout(int elementBytes, int dim, KeyFeed feed) {
  const TileSizes sizes = tileSizes(elementBytes, dim, feed);
  const int rows = tileRows(sizes, feed), row = dim * elementBytes;
  const int scores = feed == KeyFeed::decode ? rows * sizes.warps * 32 : rows * ((sizes.keys + 31) / 32 * 32);
  SharedLayout layout{};
  layout.keys = rows * row;
  layout.values = layout.keys + sizes.keys * row;
  layout.seen = layout.values + sizes.keys * row;
  layout.slots = layout.seen + scores / 8;
  layout.bytes = layout.slots + (feed == KeyFeed::stream ? 0 : sizes.keys * 16);
  return layout;
}

}  // namespace tilewise::cuda
