// Layout: what a kernel keeps in shared memory, and how its warps divide the work. Derived from the table in tuning.h.
// Reader: someone who reads the loop.
#pragma once

#include <type_traits>

#include "../../tiles/shared_tile.h"
#include "tuning.h"
#include "../visits.h"

namespace tilewise::cuda {

template <class E_, int Dim, class Pattern_, KeyFeed kFeed, int ValueDim = Dim>
struct Layout {
  using E = E_;
  using Pattern = Pattern_;
  static constexpr TileSizes kSizes = tileSizes(sizeof(E), Dim, kFeed, ValueDim);
  static constexpr SharedLayout kShared = sharedLayout(sizeof(E), Dim, kFeed, ValueDim);
  static constexpr int kDim = Dim, kValueDim = ValueDim, kKeys = kSizes.keys;
  static constexpr int kWarps = kSizes.warps, kThreads = 32 * kWarps, kRowTiles = kSizes.rowTiles;
  static constexpr int kOwnKeys = kKeys / kWarps;  // keys that each warp copies
  // The stream kernel is out of registers. Problems with a bias, softcap, extra keys, packed heads or split keys use
  // the gather kernel.
  static constexpr bool kGathers = kFeed != KeyFeed::stream;
  // launch_plan.cc gives problems with extra keys to the gather kernel, and with sink tokens behind a start: the other
  // kernels have no register for where these end.
  static constexpr bool kHasExtraKeys = kFeed == KeyFeed::gather, kHasSinksAfterStart = kFeed == KeyFeed::gather;
  // launch_plan.cc
  static constexpr bool kHasFactors = kGathers && Dim < 256, kReadsCodes = kHasFactors && !Pattern::kIsGrid;
  // Warps divide the queries and meet all keys, or divide the keys and meet all queries.
  static constexpr bool kDividesKeys = kFeed == KeyFeed::decode;
  static constexpr int kWarpRows = 16 * kRowTiles, kRows = tileRows(kSizes, kFeed);
  static constexpr int kWarpKeys = kDividesKeys ? kOwnKeys : kKeys;

  using Visits = std::conditional_t<kGathers, GatherKeys<Pattern, kKeys, kOwnKeys>, StreamKeys<Pattern, kKeys>>;

  static_assert(kWarpKeys % 16 == 0, "fragments of keys are 16 wide");

  using QueryTile = SharedTile<E, kRows, Dim>;
  using KeyTile = SharedTile<E, kKeys, Dim>;
  using ValueTile = SharedTile<E, kKeys, ValueDim>;
  static_assert(kShared.keys == QueryTile::kBytes && kShared.values - kShared.keys == KeyTile::kBytes,
                "as tuning.h lays them out");
  static_assert(sizeof(KeySlot) == 16, "as tuning.h counts");

  __device__ __forceinline__ static QueryTile queries() { return {smem_base()}; }
  __device__ __forceinline__ static KeyTile keys() { return {smem_base() + kShared.keys}; }
  __device__ __forceinline__ static ValueTile values() { return {smem_base() + kShared.values}; }
  // Of one visit. A barrier separates the last read of a visit's slots from the writes of the next.
  __device__ __forceinline__ static saddr slots() { return smem_base() + kShared.slots; }
  // The calling warp's part: see non_finite.h.
  __device__ __forceinline__ static saddr seen() {
    return smem_base() + kShared.seen + warp_id() * kWarpRows * ((kWarpKeys + 31) / 32) * 4;
  }
  // The first of the keys that the calling warp copies.
  __device__ __forceinline__ static int firstOwnKey() { return warp_id() * kOwnKeys; }
  // The first row and the first key that the calling warp computes.
  __device__ __forceinline__ static int firstRow() { return kDividesKeys ? 0 : warp_id() * kWarpRows; }
  __device__ __forceinline__ static int firstKey() { return kDividesKeys ? warp_id() * kWarpKeys : 0; }

  // A barrier for all that share keys: the block, or each warp alone.
  __device__ __forceinline__ static void sync() {
    if constexpr (kDividesKeys) {
      sync_warp();
    } else {
      sync_block();
    }
  }
  // The same. Returns whether any thread of them says yes.
  __device__ __forceinline__ static bool syncAny(bool yes) {
    if constexpr (kDividesKeys) {
      sync_warp();
      return ballot(yes) != 0;
    } else {
      return sync_block_or(yes);
    }
  }
};

}  // namespace tilewise::cuda
