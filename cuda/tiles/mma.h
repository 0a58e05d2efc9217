// Mma: products of a warp's fragments, one step of kDepth at a time; what differs between 16-bit and 32-bit elements.
// Reader: someone who adds an element type. The loop knows only the four loads and multiply().
#pragma once

#include "../../core/dtype.h"
#include "register_tile.h"
#include "shared_tile.h"

namespace tilewise::gpu {

// 16-bit elements: m16n8k16, pairs of them fed by one ldmatrix.
template <class E>
struct Mma {
  static constexpr int kDepth = 16;
  struct Rows {
    uint32_t r[4];
  };
  struct Columns {  // 16 of them
    uint32_t r[4];
  };

  // Where this lane reads fragments from, for rows [first, first + 16).
  template <class Tile>
  static __device__ __forceinline__ saddr rowsAt(const Tile& tile, int first) {
    return tile.at(first + lane_id() % 16, lane_id() / 16);
  }
  template <class Tile>
  static __device__ __forceinline__ saddr columnsAt(const Tile& tile, int first) {
    return tile.at(first + lane_id() % 8 + lane_id() / 16 * 8, lane_id() / 8 % 2);
  }
  template <class Tile>
  static __device__ __forceinline__ saddr depthAt(const Tile& tile, int first) {
    return tile.at(first + lane_id() % 16, lane_id() / 16);
  }

  // 16 rows, depth [step * kDepth, ...).
  template <class Tile>
  static __device__ __forceinline__ void loadRows(Rows& a, const Tile&, saddr at, int rowTile, int step) {
    ldmatrix_x4(a.r, Tile::ahead(at, rowTile, step));
  }
  // The same as columns of the other operand.
  template <class Tile>
  static __device__ __forceinline__ void loadColumns(Columns& b, const Tile&, saddr at, int rowTile, int step) {
    ldmatrix_x4(b.r, Tile::ahead(at, rowTile, step));
  }
  // Rows [step * kDepth, ...) as depth, columns [block * 16, ...).
  template <class Tile>
  static __device__ __forceinline__ void loadDepth(Columns& b, const Tile&, saddr at, int step, int block) {
    ldmatrix_x4_trans(b.r, Tile::ahead(at, step, block));
  }
  // Accumulators as rows of the next product, rounded to the element type: those of two neighbouring blocks are a
  // fragment as they are.
  template <int RowTiles, int N>
  struct Weights {
    Rows rows[RowTiles][N / 16];

    __device__ __forceinline__ explicit Weights(const RegisterTile<RowTiles, N>& p) {
#pragma unroll
      for (int r = 0; r < RowTiles; ++r)
#pragma unroll
        for (int step = 0; step < N / 16; ++step)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const auto& block = p.v[r][2 * step + i / 2];
            rows[r][step].r[i] = pack2<E>(block[i % 2 * 2], block[i % 2 * 2 + 1]);
          }
    }
    __device__ __forceinline__ void load(Rows& a, int rowTile, int step) const { a = rows[rowTile][step]; }
  };
  static __device__ __forceinline__ void multiply(float (&left)[4], float (&right)[4], const Rows& a, const Columns& b) {
    mma_m16n16k16<E>(left, right, a.r, b.r);
  }
};

// float32 as two tf32 numbers each, m16n8k8. The sum of a high and a low part has 22 bits; of the four products the one of
// both low parts is below float32's rounding and left out (Ootomo & Yokota, arXiv 2203.03341).
template <>
struct Mma<float> {
  static constexpr int kDepth = 8;
  struct Rows {
    uint32_t high[4], low[4];
  };
  struct Columns {
    uint32_t high[4], low[4];
  };

  // The largest numbers must not round up to infinity, and an infinite one has no low part: infinity minus infinity would
  // make it NaN.
  static __device__ __forceinline__ void split(float x, uint32_t& high, uint32_t& low) {
    high = to_tf32(x);
    if ((high & 0x7fffffff) == 0x7f800000) high = detail::bitsOf(x) & 0xffffe000;
    const float rest = x - detail::floatOfBits(high);
    low = rest == rest ? to_tf32(rest) : 0;
  }
  static __device__ __forceinline__ void splitAll(const uint32_t (&x)[4], uint32_t (&high)[4], uint32_t (&low)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) split(detail::floatOfBits(x[i]), high[i], low[i]);
  }

  // ldmatrix moves chunks of 16 bytes whatever they hold: four floats where it would move eight halves.
  template <class Tile>
  static __device__ __forceinline__ saddr rowsAt(const Tile& tile, int first) {
    return Mma<bf16>::rowsAt(tile, first);
  }
  template <class Tile>
  static __device__ __forceinline__ saddr columnsAt(const Tile& tile, int first) {
    return Mma<bf16>::columnsAt(tile, first);
  }
  template <class Tile>
  static __device__ __forceinline__ saddr depthAt(const Tile&, int first) {
    return first;
  }

  template <class Tile>
  static __device__ __forceinline__ void loadRows(Rows& a, const Tile&, saddr at, int rowTile, int step) {
    uint32_t x[4];
    ldmatrix_x4(x, Tile::ahead(at, rowTile, step));
    splitAll(x, a.high, a.low);
  }
  template <class Tile>
  static __device__ __forceinline__ void loadColumns(Columns& b, const Tile&, saddr at, int rowTile, int step) {
    uint32_t x[4];
    ldmatrix_x4(x, Tile::ahead(at, rowTile, step));
    splitAll(x, b.high, b.low);
  }
  // Depth is counted in the order that Weights brings: keys 0 2 4 6 1 3 5 7.
  template <class Tile>
  static __device__ __forceinline__ void loadDepth(Columns& b, const Tile& tile, int first, int step, int block) {
    const int key = first + step * kDepth + lane_id() % 4 * 2, column = block * 16 + lane_id() / 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      split(ld_shared_f32(tile.element(key + i % 2, column + i / 2 * 8)), b.high[i], b.low[i]);
    }
  }
  template <int RowTiles, int N>
  struct Weights {
    RegisterTile<RowTiles, N> p;

    __device__ __forceinline__ explicit Weights(const RegisterTile<RowTiles, N>& scores) : p(scores) {}
    __device__ __forceinline__ void load(Rows& a, int rowTile, int step) const {
      const auto& block = p.v[rowTile][step];
      split(block[0], a.high[0], a.low[0]);
      split(block[2], a.high[1], a.low[1]);
      split(block[1], a.high[2], a.low[2]);
      split(block[3], a.high[3], a.low[3]);
    }
  };
  static __device__ __forceinline__ void multiply(float (&left)[4], float (&right)[4], const Rows& a, const Columns& b) {
    // Small terms first.
    mma_m16n8k8_tf32(left, a.low, b.high[0], b.high[1]);
    mma_m16n8k8_tf32(left, a.high, b.low[0], b.low[1]);
    mma_m16n8k8_tf32(left, a.high, b.high[0], b.high[1]);
    mma_m16n8k8_tf32(right, a.low, b.high[2], b.high[3]);
    mma_m16n8k8_tf32(right, a.high, b.low[2], b.low[3]);
    mma_m16n8k8_tf32(right, a.high, b.high[2], b.high[3]);
  }
};

}  // namespace tilewise::gpu
