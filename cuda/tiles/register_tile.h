// RegisterTile: the accumulators of a warp, 16 rows per row tile, float32, in the order of mma.
// Reader: someone who reads the loop. A thread has two rows of each row tile (`slots`) and two of every eight columns;
// four neighbouring lanes, a quad, share a row (PTX ISA, mma.m16n8k16 fragments).
#pragma once

#include "../prims/prims.h"

namespace tilewise::cuda {

template <int RowTiles, int Columns>
struct RegisterTile {
  static constexpr int kSlots = 2 * RowTiles;
  static_assert(Columns % 8 == 0, "whole fragments");

  float v[RowTiles][Columns / 8][4];

  // The row of a slot within the warp's rows, and the column of an element.
  static __device__ __forceinline__ int row(int slot) { return slot / 2 * 16 + slot % 2 * 8 + lane_id() / 4; }
  static __device__ __forceinline__ int column(int block, int i) { return block * 8 + lane_id() % 4 * 2 + i; }

  __device__ __forceinline__ float& at(int slot, int block, int i) { return v[slot / 2][block][slot % 2 * 2 + i]; }

  // Calls f(element, slot, block, i) for each element; its column is column(block, i).
  template <class F>
  __device__ __forceinline__ void forEach(F&& f) {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot)
#pragma unroll
      for (int block = 0; block < Columns / 8; ++block)
#pragma unroll
        for (int i = 0; i < 2; ++i) f(at(slot, block, i), slot, block, i);
  }

  // Moves every block of columns `By` places to the left, and the first ones to the end. A loop that is not unrolled
  // cannot index registers: it works on the first blocks and rotates. After the whole loop all blocks are in their
  // places.
  template <int By = 1>
  __device__ __forceinline__ void rotate() {
    constexpr int kBlocks = Columns / 8;
#pragma unroll
    for (int r = 0; r < RowTiles; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float first[By];
#pragma unroll
        for (int block = 0; block < By; ++block) first[block] = v[r][block][i];
#pragma unroll
        for (int block = By; block < kBlocks; ++block) v[r][block - By][i] = v[r][block][i];
#pragma unroll
        for (int block = 0; block < By; ++block) v[r][kBlocks - By + block][i] = first[block];
      }
  }

  __device__ __forceinline__ void setZero() {
    forEach([](float& x, int, int, int) { x = 0; });
  }
  __device__ __forceinline__ void scaleRows(const float (&factor)[kSlots]) {
    forEach([&](float& x, int slot, int, int) { x *= factor[slot]; });
  }
};

__device__ __forceinline__ float quadMax(float x) {
  x = max_f32(x, shfl_xor(x, 1));
  return max_f32(x, shfl_xor(x, 2));
}
__device__ __forceinline__ float quadSum(float x) {
  x += shfl_xor(x, 1);
  return x + shfl_xor(x, 2);
}

}  // namespace tilewise::cuda
