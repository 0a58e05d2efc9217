// Mma: products of a warp's fragments, one step of kDepth at a time, for 16-bit and for 32-bit elements.
// Reader: someone who adds an element type. The loop knows only the four loads and multiply().
#pragma once

#include "../../core/base/dtype.h"
#include "register_tile.h"
#include "shared_tile.h"

namespace tilewise::cuda {

// 16-bit elements: m16n8k16, pairs of them fed by one ldmatrix.
template <class E>
struct Mma {
  static constexpr int kDepth = 16;
  static constexpr int kUnroll = 16;  // steps of a product of keys: all
  // Columns of a product of values that are computed at once: all, unless the outputs alone take half of the registers.
  TW_HOST_DEVICE static constexpr int columnsAtOnce(int dim) { return dim == 256 ? 128 : dim; }
  struct Rows {
    uint32_t r[4];
  };
  struct Columns {  // 16 columns
    uint32_t r[4];
  };

  // The address from which this lane reads fragments of rows [first, first + 16).
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
  // The same rows as columns of the other operand.
  template <class Tile>
  static __device__ __forceinline__ void loadColumns(Columns& b, const Tile&, saddr at, int rowTile, int step) {
    ldmatrix_x4(b.r, Tile::ahead(at, rowTile, step));
  }
  // Rows [step * kDepth, ...) as depth, columns [block * 16, ...).
  template <class Tile>
  static __device__ __forceinline__ void loadDepth(Columns& b, const Tile&, saddr at, int step, int block) {
    ldmatrix_x4_trans(b.r, Tile::ahead(at, step, block));
  }
  // Accumulators as rows of the next product, rounded to the element type. Two neighbouring blocks of them have the
  // order of a fragment.
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
  // The same of weights that are in shared memory: 16 rows, depth [step * kDepth, ...).
  template <class Tile>
  static __device__ __forceinline__ void loadWeights(Rows& a, const Tile& tile, int step) {
    loadRows(a, tile, rowsAt(tile, 0), 0, step);
  }
  static __device__ __forceinline__ void multiply(float (&left)[4], float (&right)[4], const Rows& a,
                                                  const Columns& b) {
    mma_m16n16k16<E>(left, right, a.r, b.r);
  }
};

// float32: each number is the sum of bfloat16 numbers, multiplied on m16n8k16; of three parts it is exact. Of the nine
// products of three parts the three smallest are below float32's rounding and left out, of four the smallest. Two tf32
// numbers would take as many instructions as three parts and lose two bits. Idea: splitting for tensor cores, Ootomo &
// Yokota (arXiv 2203.03341).
template <int Parts>
struct SplitMma {
  static constexpr int kDepth = 16;
  static constexpr int kParts = Parts;  // largest first
  // More steps at once do not fit in the registers: ptxas loads ahead until they spill.
  static constexpr int kUnroll = 1;
  TW_HOST_DEVICE static constexpr int columnsAtOnce(int dim) { return dim < 192 ? 32 : 16; }
  struct Rows {
    uint32_t part[kParts][4];
  };
  struct Columns {
    uint32_t part[kParts][4];
  };

  // Splits two numbers into words of two parts. Parts that would round up to infinity are cut off instead. Infinity
  // becomes NaN, as in the product: the parts of the other number have either sign.
  template <class Fragment>
  static __device__ __forceinline__ void split(Fragment& fragment, int word, float low, float high) {
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const uint32_t part = pack2<bf16>(cut(low), cut(high));
      fragment.part[i][word] = part;
      low -= detail::floatOfBits(part << 16);
      high -= detail::floatOfBits(part & 0xffff0000);
    }
  }
  static __device__ __forceinline__ float cut(float x) {
    const uint32_t bits = detail::bitsOf(x);
    return (bits & 0x7fff0000) == 0x7f7f0000 ? detail::floatOfBits(bits & 0xffff0000) : x;
  }

  template <class Tile>
  static __device__ __forceinline__ saddr rowsAt(const Tile& tile, int first) {
    return Mma<bf16>::rowsAt(tile, first);
  }
  template <class Tile>
  static __device__ __forceinline__ saddr columnsAt(const Tile& tile, int first) {
    return Mma<bf16>::columnsAt(tile, first);
  }
  // The addresses of element lane / 4 (of eight) in this lane's even and odd row of eight.
  struct DepthAt {
    saddr even, odd;
  };
  template <class Tile>
  static __device__ __forceinline__ DepthAt depthAt(const Tile& tile, int first) {
    const int row = first + lane_id() % 4 * 2;
    return {tile.element(row, lane_id() / 4), tile.element(row + 1, lane_id() / 4)};
  }

  // ldmatrix moves chunks of 16 bytes, here four floats instead of eight halves. A lane then has dims t and t + 4 of
  // eight, where the product wants 2t and 2t + 1. Both operands have the same order, so it makes no difference.
  template <class Tile>
  static __device__ __forceinline__ void loadRows(Rows& a, const Tile&, saddr at, int rowTile, int step) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t x[4];
      ldmatrix_x4(x, Tile::ahead(at, rowTile, 2 * step + half));
      split(a, 2 * half, detail::floatOfBits(x[0]), detail::floatOfBits(x[2]));
      split(a, 2 * half + 1, detail::floatOfBits(x[1]), detail::floatOfBits(x[3]));
    }
  }
  template <class Tile>
  static __device__ __forceinline__ void loadColumns(Columns& b, const Tile&, saddr at, int rowTile, int step) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t x[4];
      ldmatrix_x4(x, Tile::ahead(at, rowTile, 2 * step + half));
      split(b, half, detail::floatOfBits(x[0]), detail::floatOfBits(x[1]));
      split(b, 2 + half, detail::floatOfBits(x[2]), detail::floatOfBits(x[3]));
    }
  }
  template <class Tile>
  static __device__ __forceinline__ void loadDepth(Columns& b, const Tile&, DepthAt at, int step, int block) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto load = [&](saddr row) {
        return ld_shared_f32(Tile::ahead(row, step, 2 * block + i / 2) + i % 2 * 8 * Tile::kPitch);
      };
      split(b, i, load(at.even), load(at.odd));
    }
  }
  template <int RowTiles, int N>
  struct Weights {
    RegisterTile<RowTiles, N> p;

    __device__ __forceinline__ explicit Weights(const RegisterTile<RowTiles, N>& scores) : p(scores) {}
    __device__ __forceinline__ void load(Rows& a, int rowTile, int step) const {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const auto& block = p.v[rowTile][2 * step + i / 2];
        split(a, i, block[i % 2 * 2], block[i % 2 * 2 + 1]);
      }
    }
  };
  // In the order of depthAt(), which is not that of loadRows().
  template <class Tile>
  static __device__ __forceinline__ void loadWeights(Rows& a, const Tile& tile, int step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const saddr at = tile.element(lane_id() / 4 + i % 2 * 8, step * kDepth + i / 2 * 8 + lane_id() % 4 * 2);
      split(a, i, ld_shared_f32(at), ld_shared_f32(at + 4));
    }
  }
  static __device__ __forceinline__ void multiply(float (&left)[4], float (&right)[4], const Rows& a,
                                                  const Columns& b) {
    // Small terms are summed apart: tensor cores cut off what does not fit into a sum, and would do so at each term.
    float smallLeft[4] = {}, smallRight[4] = {};
#pragma unroll
    for (int sum = kParts - 1; sum > 0; --sum) {
#pragma unroll
      for (int i = 0; i <= sum; ++i) {
        mma_m16n16k16<bf16>(smallLeft, smallRight, a.part[i], b.part[sum - i]);
      }
    }
    mma_m16n16k16<bf16>(left, right, a.part[0], b.part[0]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      left[i] += smallLeft[i];
      right[i] += smallRight[i];
    }
  }
};

template <>
struct Mma<float> : SplitMma<3> {};

}  // namespace tilewise::cuda
