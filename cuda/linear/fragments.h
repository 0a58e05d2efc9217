// Fragments of float32 tiles for products on tensor cores, each number as a sum of bfloat16 parts.
// Reader: someone who follows a product of scan.h. Rows and columns of a product that come from these loads have the
// same order of depth as SplitMma::loadDepth().
#pragma once

#include "../tiles/mma.h"

namespace tilewise::cuda {

// 16-bit inputs are exact in two parts; of float32 numbers three parts are needed.
template <class E>
struct LinearMma : SplitMma<2> {};
template <>
struct LinearMma<float> : SplitMma<3> {};

// Where this lane's two neighbouring columns of an accumulator's block 0 are, in columns from `first`, a multiple of
// 32, on; those of block b are Tile::ahead(at, 0, b).
template <class Tile>
__device__ __forceinline__ saddr pairAt(const Tile& tile, int row, int first) {
  return tile.at(row, first / Tile::kPerChunk + lane_id() % 4 / 2) + lane_id() % 2 * 8;
}

// Depth [16 step, ...) of the rows whose first is at pairAt(tile, row, 0).
template <class M, class Tile>
__device__ __forceinline__ void loadRowsOf(typename M::Rows& a, const Tile&, saddr at, int step) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const saddr pair = Tile::ahead(at, 0, 2 * step + i / 2) + i % 2 * 8 * Tile::kPitch;
    M::split(a, i, ld_shared_f32(pair), ld_shared_f32(pair + 4));
  }
}

// Columns [16 block, ...) of a tile as rows, depth [16 step, ...) its rows. `at`: M::depthAt(tile, 0).
template <class M, class Tile, class At>
__device__ __forceinline__ void loadColumnsAsRows(typename M::Rows& a, const Tile& tile, const At& at, int step,
                                                  int block) {
  typename M::Columns b;
  M::loadDepth(b, tile, at, step, block);
#pragma unroll
  for (int part = 0; part < M::kParts; ++part)
#pragma unroll
    for (int i = 0; i < 4; ++i) a.part[part][i] = b.part[part][i / 2 + i % 2 * 2];
}

// sums += A B, with A's fragment of step `s` by `load(a, s)` and B the columns of `depth` from `first` on. 32 columns
// at once: more loads ahead than that spill.
template <class M, int Columns, class Tile, class Load>
__device__ __forceinline__ void addDepth(RegisterTile<1, Columns>& sums, const Tile& depth, int first, int steps,
                                         Load&& load) {
  constexpr int kAtOnce = 2;  // blocks of 16 columns
  const auto depthAt = M::depthAt(depth, 0);
#pragma unroll
  for (int begin = 0; begin < Columns / 16; begin += kAtOnce) {
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      typename M::Rows a;
      load(a, step);
#pragma unroll
      for (int block = begin; block < smaller(begin + kAtOnce, Columns / 16); ++block) {
        typename M::Columns b;
        M::loadDepth(b, depth, depthAt, step, first / 16 + block);
        M::multiply(sums.v[0][2 * block], sums.v[0][2 * block + 1], a, b);
      }
    }
  }
}

}  // namespace tilewise::cuda
