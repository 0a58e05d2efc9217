// ChunkProducts: what a block of eight warps multiplies for a chunk of at most 64 tokens, and which part of it is a
// warp's. Reader: someone who reads a scan: linear attention's or the delta rule's. A warp has 16 rows of the chunk, or
// of the state, and half of the columns.
#pragma once

#include "../tiles/element.h"
#include "fragments.h"
#include "rows.h"

namespace tilewise::cuda {

template <class E, int Columns>
class ChunkProducts {
 protected:
  using M = LinearMma<E>;
  using Strip = LinearTile<kStripDims>;
  using Wide = LinearTile<Columns>;
  static constexpr int kHalf = Columns / 2;
  using Output = RegisterTile<1, kHalf>;
  using Pairs = RegisterTile<1, kChunkTokens / 2>;  // of two tokens

  __device__ __forceinline__ explicit ChunkProducts(saddr rows) : rows_{rows} {
    const int warp = warp_id();
    firstRow_ = warp / 2 * 16;
    half_ = warp % 2;
  }

  __device__ __forceinline__ int firstColumn() const { return half_ * kHalf; }
  __device__ __forceinline__ int firstPair() const { return half_ * (kChunkTokens / 2); }
  __device__ __forceinline__ int ownRow() const { return firstRow_ + lane_id() / 4; }  // of slot 0; the other: 8 on

  // pairs += rows keys^T, in a strip of which `dims` dims exist.
  __device__ __forceinline__ void addPairs(Pairs& pairs, const Strip& rows, const Strip& keys, int dims) const {
    const saddr rowsAt = M::rowsAt(rows, firstRow_), columnsAt = M::columnsAt(keys, firstPair());
    const int steps = ceilDiv(smaller(kStripDims, dims), M::kDepth);
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      typename M::Rows a;
      M::loadRows(a, rows, rowsAt, 0, step);
#pragma unroll
      for (int block = 0; block < kChunkTokens / 32; ++block) {
        typename M::Columns b;
        M::loadColumns(b, keys, columnsAt, block, step);
        M::multiply(pairs.v[0][2 * block], pairs.v[0][2 * block + 1], a, b);
      }
    }
  }

  // Calls f(pair, row, column) for each pair.
  template <class F>
  __device__ __forceinline__ void forEachPair(Pairs& pairs, F&& f) const {
    pairs.forEach([&](float& x, int slot, int block, int i) {
      f(x, ownRow() + slot * 8, firstPair() + Pairs::column(block, i));
    });
  }
  __device__ __forceinline__ float decayBetween(int row, int column) const {
    return exponential(differenceOf(rows_.sum(row), rows_.sum(column)));
  }

  __device__ __forceinline__ void storePairs(Pairs& pairs, const Strip& to) const {
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const saddr at = pairAt(to, ownRow() + slot * 8, firstPair());
#pragma unroll
      for (int block = 0; block < kChunkTokens / 16; ++block) {
        Element<float>::store(Strip::ahead(at, 0, block), pairs.at(slot, block, 0), pairs.at(slot, block, 1));
      }
    }
  }
  // Sums of pairs by row, of this warp's half of the columns, to an array for that half.
  __device__ __forceinline__ void storeSums(Pairs& pairs, ChunkRows::Array sums,
                                            ChunkRows::Array sumsOfOtherHalf) const {
    float sum[2] = {};
    pairs.forEach([&](float x, int slot, int, int) { sum[slot] += x; });
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const float all = quadSum(sum[slot]);
      if (lane_id() % 4 == 0) st_shared(rows_.at(half_ == 0 ? sums : sumsOfOtherHalf, ownRow() + slot * 8), all);
    }
  }

  // output += rows depth: `steps` times 16 rows of the latter.
  __device__ __forceinline__ void addRows(Output& output, const Strip& rows, const Wide& depth, int steps) const {
    addDepth<M>(output, depth, firstColumn(), steps,
                [&, at = pairAt(rows, ownRow(), 0)](auto& a, int step) { loadRowsOf<M>(a, rows, at, step); });
  }

  // output += pairs values, of tokens up to the row's own.
  __device__ __forceinline__ void addLower(Output& output, const Strip& pairs, const Wide& values,
                                           bool areFinite) const {
    addRows(output, pairs, values, firstRow_ / M::kDepth);
    addOwnRows(output, pairs, values, areFinite);
  }
  // The same of the tokens of the warp's own 16 rows alone. Pairs of later tokens are 0; where values are not finite
  // the product would make NaN of them.
  __device__ __forceinline__ void addOwnRows(Output& output, const Strip& pairs, const Wide& values,
                                             bool areFinite) const {
    if (areFinite) {
      const int step = firstRow_ / M::kDepth;
      addDepth<M>(output, Wide{values.base + step * M::kDepth * Wide::kPitch}, firstColumn(), 1,
                  [&, at = pairAt(pairs, ownRow(), 0)](auto& a, int) { loadRowsOf<M>(a, pairs, at, step); });
      return;
    }
#pragma unroll 1
    for (int block = 0; block < kHalf / 8; ++block) {
#pragma unroll 1
      for (int token = firstRow_; token < firstRow_ + 16; ++token) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float value = ld_shared_f32(values.element(token, firstColumn() + Output::column(block, i)));
#pragma unroll
          for (int slot = 0; slot < 2; ++slot) {
            const int row = ownRow() + slot * 8;
            float& x = output.at(slot, 0, i);
            if (token <= row) x = fmaf(ld_shared_f32(pairs.element(row, token)), value, x);
          }
        }
      }
      output.rotate();
    }
  }

  // state <- kept state + keys^T values of n tokens, for 16 of a strip's dims.
  __device__ __forceinline__ void addKeys(const Wide& state, const Strip& keys, const Wide& values, float kept,
                                          int n) const {
    Output sums;
    forEachOf(state, sums, [&](float& x, saddr at) { x = kept * ld_shared_f32(at); });
    addDepth<M>(sums, values, firstColumn(), ceilDiv(n, M::kDepth), [&, at = M::depthAt(keys, 0)](auto& a, int step) {
      loadColumnsAsRows<M>(a, keys, at, step, firstRow_ / 16);
    });
    storeRows(sums, state);
  }

  // Calls f(element, its address in a tile).
  template <class F>
  __device__ __forceinline__ void forEachOf(const Wide& tile, Output& rows, F&& f) const {
    const saddr at = pairAt(tile, ownRow(), firstColumn());
    rows.forEach([&](float& x, int slot, int block, int i) {
      f(x, Wide::ahead(at, 0, block) + slot * 8 * Wide::kPitch + i * 4);
    });
  }
  __device__ __forceinline__ void storeRows(Output& rows, const Wide& to) const {
    const saddr at = pairAt(to, ownRow(), firstColumn());
#pragma unroll
    for (int slot = 0; slot < 2; ++slot)
#pragma unroll
      for (int block = 0; block < kHalf / 8; ++block) {
        Element<float>::store(Wide::ahead(at, 0, block) + slot * 8 * Wide::kPitch, rows.at(slot, block, 0),
                              rows.at(slot, block, 1));
      }
  }

  __device__ __forceinline__ void scaleByRow(Output& output, ChunkRows::Array array) const {
    float factor[2];
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) factor[slot] = rows_.load(array, ownRow() + slot * 8);
    output.scaleRows(factor);
  }

  // Rows of the output times their factors. out[slot]: of the row's first column.
  __device__ __forceinline__ void writeRows(Output& output, typename Element<E>::Bits* const (&out)[2], int64_t dim,
                                            const float (&factor)[2], int n, int columns) const {
    // Eight columns at a time: stores of all are a tenth of the kernel's code, and their addresses many registers.
#pragma unroll 1
    for (int block = 0; block < kHalf / 8; ++block) {
#pragma unroll
      for (int slot = 0; slot < 2; ++slot)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int column = firstColumn() + Output::column(block, i);
          if (ownRow() + slot * 8 >= n || column >= columns) continue;
          out[slot][column * dim] = Element<E>::fromFloat(output.at(slot, 0, i) * factor[slot]);
        }
      output.rotate();
    }
  }

  const ChunkRows rows_;
  int firstRow_, half_;
};

}  // namespace tilewise::cuda
