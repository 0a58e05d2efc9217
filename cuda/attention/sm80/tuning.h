// How large the tiles of sm80 kernels are, and what they take of the shared memory: the one table to tune.
// Reader: someone with a GPU and a benchmark. Host and device read the same numbers. A block stays below 99 KB of
// shared memory, which is what sm_86, sm_89 and sm_120 have, so that one choice serves all.
#pragma once

#include "../../../core/base/platform.h"

namespace tilewise::cuda {

// Which kernel: stream (dense windows), gather (every other pattern, pages), decode (few queries, many keys) or wide
// (rows of more than 256 dims, whatever the pattern).
enum class KeyFeed { stream, gather, decode, wide };

// Of wide kernels: columns of the outputs, whose sums take a third of the registers of a multiprocessor (2048: grids
// spill), and bytes of a row in a strip of queries and keys. Budget.
constexpr int kWideColumns = 1536, kWideStripBytes = 256;

struct TileSizes {
  int rowTiles;  // of 16 queries, per warp
  int warps;
  int keys;  // per visit
  int perMultiprocessor;  // blocks; limits registers
};

// Reasons: 'budget' means that registers or shared memory allow no more. Rows without a reason are not measured.
TW_HOST_DEVICE constexpr TileSizes tileSizes(int elementBytes, int dim, KeyFeed feed, int valueDim) {
  const bool isHalf = elementBytes == 2;
  if (feed == KeyFeed::wide) return {1, 8, 128, 1};
  // Warps divide the keys of a visit, at least 16 each. In the end the warps' outputs must fit in the memory of keys
  // and values (epilogue.h).
  if (feed == KeyFeed::decode)
    return isHalf ? TileSizes{1, 4, 64, dim <= 32 ? 4 : dim <= 64 ? 3 : 2} : TileSizes{1, 2, 32, dim <= 96 ? 4 : 2};
  if (!isHalf) return {1, 4, dim <= (feed == KeyFeed::gather ? 64 : 128) ? 32 : 16, dim <= 96 ? 2 : 1};
  if (feed == KeyFeed::gather) return {1, 4, dim <= 128 ? 64 : 32, dim <= 32 ? 3 : dim <= 128 ? 2 : 1};
  // Two row tiles per warp halve the fragment loads of keys; from 192 dims on their outputs exceed the registers.
  if (valueDim <= 128) return {2, 4, 64, 2};
  return {1, dim == 192 ? 8 : 4, 64, dim == 192 ? 1 : 2};
}

TW_HOST_DEVICE constexpr TileSizes tileSizes(int elementBytes, int dim, KeyFeed feed) {
  return tileSizes(elementBytes, dim, feed, dim);
}

// Queries of a tile. Warps that divide the keys share their rows.
TW_HOST_DEVICE constexpr int tileRows(const TileSizes& sizes, KeyFeed feed) {
  return 16 * sizes.rowTiles * (feed == KeyFeed::decode || feed == KeyFeed::wide ? 1 : sizes.warps);
}

// The same as below, of wide kernels.
struct WideShared {
  int keys, pitch;  // within a buffer of queries and keys, or of values; from one of the two buffers to the other
  int weights, maxima, seen, slots;
  int bytes;
};
TW_HOST_DEVICE constexpr WideShared wideShared(int elementBytes) {
  const TileSizes sizes = tileSizes(elementBytes, kWideColumns, KeyFeed::wide);
  const int rows = tileRows(sizes, KeyFeed::wide), perWarp = rows * sizes.warps * 4;
  WideShared layout{};
  layout.keys = rows * kWideStripBytes;
  layout.pitch = layout.keys + sizes.keys * kWideStripBytes;
  layout.weights = 2 * layout.pitch;
  layout.maxima = layout.weights + rows * sizes.keys * elementBytes;
  layout.seen = layout.maxima + perWarp;
  layout.slots = layout.seen + perWarp;
  layout.bytes = layout.slots + sizes.keys * 16;
  return layout;
}

// Where a block of threads keeps what in shared memory, in bytes from its start. Queries come first.
struct SharedLayout {
  int keys, values;
  int seen;  // a bit for every score, see non_finite.h
  int slots;  // a KeySlot for each key of a visit
  int bytes;
};
TW_HOST_DEVICE constexpr SharedLayout sharedLayout(int elementBytes, int dim, KeyFeed feed, int valueDim) {
  const TileSizes sizes = tileSizes(elementBytes, dim, feed, valueDim);
  const int rows = tileRows(sizes, feed), row = dim * elementBytes;
  const int scores = feed == KeyFeed::decode ? rows * sizes.warps * 32 : rows * ((sizes.keys + 31) / 32 * 32);
  SharedLayout layout{};
  layout.keys = rows * row;
  layout.values = layout.keys + sizes.keys * row;
  layout.seen = layout.values + sizes.keys * valueDim * elementBytes;
  layout.slots = layout.seen + scores / 8;
  layout.bytes = layout.slots + (feed == KeyFeed::stream ? 0 : sizes.keys * 16);
  return layout;
}
TW_HOST_DEVICE constexpr int sharedBytes(int elementBytes, int dim, KeyFeed feed, int valueDim) {
  return feed == KeyFeed::wide ? wideShared(elementBytes).bytes : sharedLayout(elementBytes, dim, feed, valueDim).bytes;
}

}  // namespace tilewise::cuda
