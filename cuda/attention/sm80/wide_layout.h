// WideLayout: what a wide kernel keeps in shared memory, and how its warps divide the work. Derived from tuning.h.
// Reader: someone who reads wide_attend.h. A tile has 16 rows of queries. For scores the warps divide the keys of a
// visit, for outputs the columns: each strip of columns is one fragment of 16 for every warp.
#pragma once

#include "../../tiles/shared_tile.h"
#include "../visits.h"
#include "tuning.h"

namespace tilewise::cuda {

template <class E_, class Pattern_>
struct WideLayout {
  using E = E_;
  using Pattern = Pattern_;
  static constexpr TileSizes kSizes = tileSizes(sizeof(E), kWideColumns, KeyFeed::wide);
  static constexpr WideShared kShared = wideShared(sizeof(E));
  static constexpr int kWarps = kSizes.warps, kThreads = 32 * kWarps, kRowTiles = kSizes.rowTiles;
  static constexpr int kRows = 16 * kRowTiles, kKeys = kSizes.keys, kOwnKeys = kKeys / kWarps, kWarpKeys = kOwnKeys;
  static constexpr bool kGathers = true, kHasExtraKeys = true, kHasSinksAfterStart = true, kHasFactors = true;
  static constexpr int kStripDims = kWideStripBytes / int(sizeof(E));  // of the first product
  static constexpr int kStripColumns = 16 * kWarps, kStrips = kWideColumns / kStripColumns;
  // Values of a strip come in parts, so that those of float32 take no more room: each has as many of every warp's keys.
  static constexpr int kParts = int(sizeof(E)) / 2, kPartKeys = kKeys / kParts, kPartOwn = kOwnKeys / kParts;

  using Visits = GatherKeys<Pattern, kKeys, kOwnKeys>;
  using QueryTile = SharedTile<E, kRows, kStripDims>;
  using KeyTile = SharedTile<E, kKeys, kStripDims>;
  using ValueTile = SharedTile<E, kPartKeys, kStripColumns>;
  using WeightTile = SharedTile<E, kRows, kKeys>;
  static_assert(kRowTiles == 1 && kOwnKeys == 16, "a fragment of scores for every warp");
  static_assert(kShared.keys == QueryTile::kBytes && kShared.pitch == kShared.keys + KeyTile::kBytes &&
                    ValueTile::kBytes <= kShared.pitch && kShared.maxima == kShared.weights + WeightTile::kBytes,
                "as tuning.h lays them out");
  static_assert(sizeof(KeySlot) == 16, "as tuning.h counts");

  // A step's strip is in one of two buffers, queries before keys; values take the room of both.
  __device__ __forceinline__ static saddr buffer(int i) { return smem_base() + i * kShared.pitch; }
  __device__ __forceinline__ static QueryTile queries(int i) { return {buffer(i)}; }
  __device__ __forceinline__ static KeyTile keys(int i) { return {buffer(i) + kShared.keys}; }
  __device__ __forceinline__ static ValueTile values(int i) { return {buffer(i)}; }
  __device__ __forceinline__ static WeightTile weights() { return {smem_base() + kShared.weights}; }
  // A float of each row for each warp: maxima of its scores, in the end its sums.
  __device__ __forceinline__ static saddr maximum(int warp, int row) {
    return smem_base() + kShared.maxima + (warp * kRows + row) * 4;
  }
  // Which of a warp's keys a row sees, a bit each: see non_finite.h.
  __device__ __forceinline__ static saddr seen(int warp) { return smem_base() + kShared.seen + warp * kRows * 4; }
  // Of one visit. A barrier separates the last read of a visit's slots from the writes of the next.
  __device__ __forceinline__ static saddr slots() { return smem_base() + kShared.slots; }
  __device__ __forceinline__ static int firstRow() { return 0; }
  __device__ __forceinline__ static int firstKey() { return warp_id() * kWarpKeys; }
  // The column of weights that has the calling warp's key 8 * block: parts follow each other, warps within a part.
  __device__ __forceinline__ static int weightColumn(int block) {
    return kParts == 1 ? firstKey() + 8 * block : block * kPartKeys + warp_id() * kPartOwn;
  }
};

}  // namespace tilewise::cuda
