// NaN and infinity among values that some queries of a tile see and others do not. A weight of zero times NaN is NaN,
// so such values are added to the rows that see them one by one, and are zero in the product. Reader: someone who asks
// what masked visits cost: one scan of the values. The rest runs only where the scan finds something.
#pragma once

#include "../../core/base/number.h"
#include "../tiles/element.h"
#include "../tiles/register_tile.h"
#include "../tiles/shared_tile.h"

namespace tilewise::cuda {

// Whether this lane finds such a value in its share of `rows` rows from `first` on.
template <class E, int Rows, int Dim>
__device__ __forceinline__ bool findNonFinite(const SharedTile<E, Rows, Dim>& values, int first, int rows) {
  constexpr int kChunks = SharedTile<E, Rows, Dim>::kChunks;
  bool found = false;
#pragma unroll 2
  for (int i = lane_id(); i < rows * kChunks; i += 32) {
    const uint4 x = ld_shared_128(values.at(first + i / kChunks, i % kChunks));
    found |= hasNonFinite<E>(x.x) || hasNonFinite<E>(x.y) || hasNonFinite<E>(x.z) || hasNonFinite<E>(x.w);
  }
  return found;
}

// Notes which columns of a tile of scores are not hidden, a bit each: word w of a row has columns [32 w, 32 w + 32) and
// is at rows + (row * Keys / 32 + w) * 4. Call this before scores become weights: the weight of a visible key may be
// zero.
template <int RowTiles, int Keys>
__device__ __forceinline__ void noteSeen(RegisterTile<RowTiles, Keys>& scores, saddr rows) {
  using Tile = RegisterTile<RowTiles, Keys>;
  constexpr int kWords = (Keys + 31) / 32;
#pragma unroll
  for (int slot = 0; slot < Tile::kSlots; ++slot) {
    uint32_t seen[kWords] = {};
#pragma unroll
    for (int block = 0; block < Keys / 8; ++block)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t isSeen = scores.at(slot, block, i) != -INFINITY;
        seen[block / 4] |= isSeen << (Tile::column(block, i) % 32);
      }
#pragma unroll
    for (int word = 0; word < kWords; ++word) {
      seen[word] |= shfl_xor(seen[word], 1);
      seen[word] |= shfl_xor(seen[word], 2);
      if (lane_id() % 4 == 0) st_shared(rows + (Tile::row(slot) * kWords + word) * 4, seen[word]);
    }
  }
}

// Adds the values that are not finite to the rows that see them, whatever their weight. This is rare, so the code is
// short: two columns at a time, past which the tile rotates.
template <class E, int Keys, int RowTiles, int TileRows, int Dim>
__device__ __forceinline__ void addNonFinite(RegisterTile<RowTiles, Dim>& output,
                                             const SharedTile<E, TileRows, Dim>& values, int firstKey, saddr rows) {
  using Tile = RegisterTile<RowTiles, Dim>;
  constexpr int kWords = (Keys + 31) / 32;
#pragma unroll 1
  for (int block = 0; block < Dim / 8; ++block) {
#pragma unroll 1
    for (int key = 0; key < Keys; ++key) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float v = Element<E>::load(values.element(firstKey + key, Tile::column(block, i)));
        if (isFinite(v)) continue;
#pragma unroll
        for (int slot = 0; slot < Tile::kSlots; ++slot) {
          const uint32_t seen = ld_shared_u32(rows + (Tile::row(slot) * kWords + key / 32) * 4);
          if (seen >> (key % 32) & 1) output.at(slot, 0, i) += v;
        }
      }
    }
    output.rotate();
  }
}

// Sets such values to zero in `rows` rows from `first` on.
template <class E, int Rows, int Dim>
__device__ __forceinline__ void zeroNonFinite(const SharedTile<E, Rows, Dim>& values, int first, int rows) {
  constexpr int kChunks = SharedTile<E, Rows, Dim>::kChunks;
#pragma unroll 1
  for (int i = lane_id(); i < rows * kChunks; i += 32) {
    const saddr at = values.at(first + i / kChunks, i % kChunks);
#pragma unroll 1
    for (int word = 0; word < 4; ++word) {
      uint32_t x = ld_shared_u32(at + word * 4);
      if (!hasNonFinite<E>(x)) continue;
      constexpr uint32_t kLow = Element<E>::kExponent & 0xffff, kHigh = Element<E>::kExponent & 0xffff0000;
      if (sizeof(E) == 4) x = 0;
      if (sizeof(E) == 2 && (x & kLow) == kLow) x &= 0xffff0000;
      if (sizeof(E) == 2 && (x & kHigh) == kHigh) x &= 0xffff;
      st_shared(at + word * 4, x);
    }
  }
}

// What a loop with layout L does in a visit. Nothing, unless the visit is masked and has such values.
template <class L>
struct Repair {
  bool isNeeded = false;  // the same in all threads that share keys

  // Before scores become weights.
  template <class Scores>
  __device__ __forceinline__ void noteSeen(Scores& scores) const {
    if (isNeeded) cuda::noteSeen(scores, L::seen());
  }
  // Before the values meet the weights.
  template <class Output>
  __device__ __forceinline__ void replaceValues(Output& output) const {
    if (!isNeeded) return;
    sync_warp();
    addNonFinite<typename L::E, L::kWarpKeys>(output, L::values(), L::firstKey(), L::seen());
    L::sync();
    zeroNonFinite(L::values(), L::firstOwnKey(), L::kOwnKeys);
    L::sync();
  }
};

}  // namespace tilewise::cuda
