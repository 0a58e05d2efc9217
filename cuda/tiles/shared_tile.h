// SharedTile: rows of elements in shared memory, laid out so that neither copies nor fragment loads have bank
// conflicts. Reader: someone who asks where an element is. Only this file computes addresses of elements.
#pragma once

#include "../prims/prims.h"

namespace tilewise::cuda {

// Rows x Dim elements. The 16-byte chunks of a row are permuted by the row's number: the eight rows that one 8 x 8
// matrix of ldmatrix reads are then in eight different groups of banks.
template <class E, int Rows, int Dim>
struct SharedTile {
  static constexpr int kPitch = Dim * int(sizeof(E));
  static constexpr int kChunks = kPitch / 16;
  static constexpr int kPerChunk = 16 / int(sizeof(E));
  static constexpr int kBytes = Rows * kPitch;
  static_assert(kChunks % 4 == 0, "rows are at least 64 bytes");

  // Rows of an odd number of half bank cycles (32 or 96 elements of 16 bits) start in two groups of banks already.
  static constexpr int kPermuted = kChunks % 8 == 0 ? 8 : 4;

  saddr base;  // a multiple of 1024

  __device__ __forceinline__ saddr at(int row, int chunk) const {
    const int key = kPermuted == 8 ? row & 7 : (row >> 1) & 3;
    return base + row * kPitch + chunk / kPermuted * kPermuted * 16 + ((chunk % kPermuted ^ key) << 4);
  }
  // at(row + 16 * rows, chunk + 2 * pairs) from at(row, chunk), with chunk 0 or 1. For numbers that the compiler knows
  // this takes one register and at most one xor; at() would keep an address per chunk in registers.
  static __device__ __forceinline__ saddr ahead(saddr at, int rows, int pairs) {
    return (at ^ (2 * pairs % kPermuted << 4)) + rows * 16 * kPitch + 2 * pairs / kPermuted * kPermuted * 16;
  }
  __device__ __forceinline__ saddr element(int row, int column) const {
    return at(row, column / kPerChunk) + column % kPerChunk * int(sizeof(E));
  }
};

}  // namespace tilewise::cuda
