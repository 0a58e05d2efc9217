// The two products of a visit on mma.sync: S = Q K^T and O += P V, from shared tiles into registers.
// Reader: someone who reads attend(). A warp computes its own rows and keys, as the layout divides them; nothing here
// waits: whoever calls has the tiles ready.
#pragma once

#include "../../tiles/mma.h"
#include "layout.h"

namespace tilewise::cuda {

// S = Q K^T for the calling warp's rows and keys.
template <class L>
__device__ __forceinline__ void multiplyKeys(RegisterTile<L::kRowTiles, L::kWarpKeys>& scores) {
  using Product = Mma<typename L::E>;
  const auto queries = L::queries();
  const auto keys = L::keys();
  const saddr rowsAt = Product::rowsAt(queries, L::firstRow()), columnsAt = Product::columnsAt(keys, L::firstKey());
  scores.setZero();
#pragma unroll Product::kUnroll
  for (int step = 0; step < L::kDim / Product::kDepth; ++step) {
    typename Product::Rows rows[L::kRowTiles];
#pragma unroll
    for (int r = 0; r < L::kRowTiles; ++r) Product::loadRows(rows[r], queries, rowsAt, r, step);
#pragma unroll
    for (int n = 0; n < L::kWarpKeys / 16; ++n) {
      typename Product::Columns columns;
      Product::loadColumns(columns, keys, columnsAt, n, step);
#pragma unroll
      for (int r = 0; r < L::kRowTiles; ++r) {
        Product::multiply(scores.v[r][2 * n], scores.v[r][2 * n + 1], rows[r], columns);
      }
    }
  }
}

// O += P V
template <class L>
__device__ __forceinline__ void addValues(
    RegisterTile<L::kRowTiles, L::kValueDim>& output,
    const typename Mma<typename L::E>::template Weights<L::kRowTiles, L::kWarpKeys>& weights) {
  using Product = Mma<typename L::E>;
  const auto values = L::values();
  const auto depthAt = Product::depthAt(values, L::firstKey());
  constexpr int kAtOnce = Product::columnsAtOnce(L::kValueDim) / 16;
#pragma unroll 1
  for (int first = 0; first < L::kValueDim / 16; first += kAtOnce) {
#pragma unroll
    for (int step = 0; step < L::kWarpKeys / Product::kDepth; ++step) {
      typename Product::Rows rows[L::kRowTiles];
#pragma unroll
      for (int r = 0; r < L::kRowTiles; ++r) weights.load(rows[r], r, step);
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) {
        typename Product::Columns columns;
        Product::loadDepth(columns, values, depthAt, step, first + n);
#pragma unroll
        for (int r = 0; r < L::kRowTiles; ++r) {
          Product::multiply(output.v[r][2 * n], output.v[r][2 * n + 1], rows[r], columns);
        }
      }
    }
    if constexpr (16 * kAtOnce < L::kValueDim) output.template rotate<2 * kAtOnce>();
  }
}

}  // namespace tilewise::cuda
