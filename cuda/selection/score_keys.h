// Scores of 16 keys, two for every quad of lanes: their largest products with the sampled rows of a query block.
// Reader: someone who reads search.h. Keys are the rows of a product and queries its columns, so that what a quad needs
// to go on comes out in its own registers.
#pragma once

#include "../prims/prims.h"

namespace tilewise::cuda {

// Query rows in shared memory; `rows` of them, at least one.
struct QueryRows {
  saddr first;
  int32_t pitch, rows;

  // Past the last row it repeats, which changes no maximum.
  __device__ __forceinline__ saddr at(int row) const { return first + smaller(row, rows - 1) * pitch; }
};

// Of a quad's two keys: rows in shared memory, and scores.
struct KeyPair {
  saddr left, right;
};
struct ScorePair {
  float left = -INFINITY, right = -INFINITY;

  // A NaN raises nothing.
  __device__ __forceinline__ void raise(float toLeft, float toRight) {
    left = max_f32(left, toLeft);
    right = max_f32(right, toRight);
  }
  __device__ __forceinline__ void joinQuad() {
#pragma unroll
    for (int mask = 1; mask < 4; mask *= 2) raise(shfl_xor(left, mask), shfl_xor(right, mask));
  }
};

// Tensor cores: m16n8k16. Row i of a product is the left key of quad i, row i + 8 the right one.
template <class E>
struct Scorer {
  static constexpr int kMostTiles = 2;
  saddr keyRow;  // that this lane gives to ldmatrix
  int steps;

  __device__ __forceinline__ Scorer(const KeyPair& keys, int pieces) : steps(pieces / 2) {
    const int quad = lane_id() % 8 * 4;
    const saddr left = shfl(keys.left, quad), right = shfl(keys.right, quad);
    keyRow = (lane_id() & 8 ? right : left) + (lane_id() & 16);
  }

  // Rows [first, first + 16 * Tiles).
  template <int Tiles>
  __device__ __forceinline__ void raise(ScorePair& scores, const QueryRows& queries, int first) const {
    saddr queryRow[Tiles];
    float product[Tiles][2][4];
#pragma unroll
    for (int t = 0; t < Tiles; ++t) {
      queryRow[t] = queries.at(first + t * 16 + lane_id() % 8 + (lane_id() & 16) / 2) + (lane_id() & 8) * 2;
#pragma unroll
      for (int i = 0; i < 4; ++i) product[t][0][i] = product[t][1][i] = 0;
    }
#pragma unroll 4
    for (int step = 0; step < steps; ++step) {
      uint32_t key[4];
      ldmatrix_x4(key, keyRow + step * 32);
#pragma unroll
      for (int t = 0; t < Tiles; ++t) {
        uint32_t query[4];
        ldmatrix_x4(query, queryRow[t] + step * 32);
        mma_m16n16k16<E>(product[t][0], product[t][1], key, query);
      }
    }
#pragma unroll
    for (int t = 0; t < Tiles; ++t)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto& x = product[t][half];
        scores.raise(x[0], x[2]);
        scores.raise(x[1], x[3]);
      }
  }
};

// float32: a lane multiplies its quad's keys with every fourth row, in the order of the dims.
template <>
struct Scorer<float> {
  static constexpr int kMostTiles = 1;
  KeyPair keys;
  int pieces;

  __device__ __forceinline__ Scorer(const KeyPair& keys, int pieces) : keys(keys), pieces(pieces) {}

  template <int Tiles>
  __device__ __forceinline__ void raise(ScorePair& scores, const QueryRows& queries, int first) const {
    constexpr int kRows = Tiles * 4;
    saddr queryRow[kRows];
    float left[kRows], right[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      queryRow[r] = queries.at(first + r * 4 + lane_id() % 4);
      left[r] = right[r] = 0;
    }
#pragma unroll 2
    for (int piece = 0; piece < pieces; ++piece) {
      const uint4 l = ld_shared_128(keys.left + piece * 16), r = ld_shared_128(keys.right + piece * 16);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const uint4 q = ld_shared_128(queryRow[i] + piece * 16);
        left[i] = multiplied(l, q, left[i]);
        right[i] = multiplied(r, q, right[i]);
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) scores.raise(left[r], right[r]);
  }

 private:
  static __device__ __forceinline__ float multiplied(const uint4& a, const uint4& b, float sum) {
    using detail::floatOfBits;
    sum = fmaf(floatOfBits(a.x), floatOfBits(b.x), sum);
    sum = fmaf(floatOfBits(a.y), floatOfBits(b.y), sum);
    sum = fmaf(floatOfBits(a.z), floatOfBits(b.z), sum);
    return fmaf(floatOfBits(a.w), floatOfBits(b.w), sum);
  }
};

// All lanes of a warp call this. The more rows pass at once, the less often the keys are read.
template <class E>
__device__ __forceinline__ ScorePair scoreKeys(const KeyPair& keys, const QueryRows& queries, int pieces) {
  const Scorer<E> scorer(keys, pieces);
  ScorePair scores;
  constexpr int kMost = Scorer<E>::kMostTiles;
  int row = 0;
  for (; queries.rows - row > 16 * (kMost - 1); row += 16 * kMost) scorer.template raise<kMost>(scores, queries, row);
  if (kMost > 1 && row < queries.rows) scorer.template raise<1>(scores, queries, row);
  scores.joinQuad();
  return scores;
}

}  // namespace tilewise::cuda
