// Dense attention in the manner of sm_80 at its plainest: 4 warps, 64 queries by 64 keys, K and V double-buffered by
// cp.async, everything between in registers. What mma.sync reaches on a newer card without tuning.
// Reader: whoever compares the two kinds of kernel. A measurement probe, not part of the library.
#pragma once

#include "../../cuda/prims/prims.h"

namespace tilewise::probe {

using namespace cuda;

struct AmpereParams {
  const uint16_t *q, *k, *v;  // [heads, tokens, D], bfloat16
  uint16_t* o;
  float* lse;
  int queries, keys, queryTiles;
  float scaleLog2;
};

constexpr int kAmpereRows = 64, kAmpereThreads = 128;

// Rows of D elements, their 16-byte chunks xor-swizzled by the row.
template <int D>
__device__ __forceinline__ saddr chunkAt(saddr tile, int row, int chunk) {
  return tile + row * (D * 2) + ((chunk ^ (row & 7)) << 4);
}

template <int D>
__device__ __forceinline__ void copyTile(saddr tile, const uint16_t* from, int row, int rows) {
  constexpr int kChunks = D / 8;
#pragma unroll
  for (int i = int(thread_index()); i < kAmpereRows * kChunks; i += kAmpereThreads) {
    const int r = i / kChunks, c = i % kChunks;
    const bool isInside = row + r < rows;
    cp_async16(chunkAt<D>(tile, r, c), from + (isInside ? size_t(row + r) * D + c * 8 : 0), isInside ? 16 : 0);
  }
}

template <int D, bool Causal>
__device__ __forceinline__ void ampereAttention(const AmpereParams& p) {
  constexpr int BM = kAmpereRows, BN = kAmpereRows, kTile = BN * D * 2;
  const saddr sq = smem_base(), sk = sq + kTile, sv = sk + 2 * kTile;
  const int lane = lane_id(), warp = warp_id();
  const int head = int(block_index()) / p.queryTiles;
  const int query = (p.queryTiles - 1 - int(block_index()) % p.queryTiles) * BM;
  const uint16_t* q = p.q + size_t(head) * p.queries * D;
  const uint16_t* k = p.k + size_t(head) * p.keys * D;
  const uint16_t* v = p.v + size_t(head) * p.keys * D;
  const int shift = p.keys - p.queries;
  int tiles = ceilDiv(p.keys, BN);
  if (Causal) tiles = larger(smaller(tiles, ceilDiv(query + BM + shift, BN)), 0);

  copyTile<D>(sq, q, query, p.queries);
  if (tiles > 0) copyTile<D>(sk, k, 0, p.keys);
  cp_async_commit();
  if (tiles > 0) copyTile<D>(sv, v, 0, p.keys);
  cp_async_commit();

  float o[D / 8][4] = {}, rowMax[2] = {-INFINITY, -INFINITY}, rowSum[2] = {0.f, 0.f};
  uint32_t qf[D / 16][4];
  for (int t = 0; t < tiles; ++t) {
    const saddr kt = sk + (t & 1) * kTile, vt = sv + (t & 1) * kTile;
    cp_async_wait<1>();  // this K, and Q; V may be on its way
    sync_block();
    if (t == 0) {
#pragma unroll
      for (int j = 0; j < D / 16; ++j) ldmatrix_x4(qf[j], chunkAt<D>(sq, warp * 16 + lane % 16, j * 2 + lane / 16));
    }
    if (t + 1 < tiles) copyTile<D>(sk + (~t & 1) * kTile, k, (t + 1) * BN, p.keys);
    cp_async_commit();

    float s[BN / 8][4] = {};
#pragma unroll
    for (int j = 0; j < D / 16; ++j)
#pragma unroll
      for (int n = 0; n < BN / 16; ++n) {
        uint32_t b[4];
        ldmatrix_x4(b, chunkAt<D>(kt, n * 16 + lane % 8 + lane / 16 * 8, j * 2 + lane / 8 % 2));
        mma_m16n16k16<bf16>(s[2 * n], s[2 * n + 1], qf[j], b);
      }

    if ((t + 1) * BN > p.keys || (Causal && (t + 1) * BN > query + shift)) {
#pragma unroll
      for (int i = 0; i < BN / 2; ++i) {
        const int key = t * BN + i / 4 * 8 + lane % 4 * 2 + i % 2, row = query + warp * 16 + lane / 4 + i / 2 % 2 * 8;
        if (key >= p.keys || (Causal && key > row + shift)) s[i / 4][i % 4] = -INFINITY;
      }
    }

#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float m = rowMax[h];
#pragma unroll
      for (int n = 0; n < BN / 8; ++n) m = max_f32(m, max_f32(s[n][2 * h], s[n][2 * h + 1]));
      m = max_f32(m, shfl_xor(m, 1));
      m = max_f32(m, shfl_xor(m, 2));
      const float bias = m == -INFINITY ? 0.f : m * p.scaleLog2;
      const float rescale = exp2_approx(rowMax[h] * p.scaleLog2 - bias);
      rowMax[h] = m;
      rowSum[h] *= rescale;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) o[n][2 * h] *= rescale, o[n][2 * h + 1] *= rescale;
#pragma unroll
      for (int n = 0; n < BN / 8; ++n) {
        s[n][2 * h] = exp2_approx(s[n][2 * h] * p.scaleLog2 - bias);
        s[n][2 * h + 1] = exp2_approx(s[n][2 * h + 1] * p.scaleLog2 - bias);
        rowSum[h] += s[n][2 * h] + s[n][2 * h + 1];
      }
    }

    cp_async_wait<1>();  // this V; the next K may be on its way
    sync_block();
    if (t + 1 < tiles) copyTile<D>(sv + (~t & 1) * kTile, v, (t + 1) * BN, p.keys);
    cp_async_commit();
#pragma unroll
    for (int j = 0; j < BN / 16; ++j) {
      const uint32_t pf[4] = {pack2<bf16>(s[2 * j][0], s[2 * j][1]), pack2<bf16>(s[2 * j][2], s[2 * j][3]),
                              pack2<bf16>(s[2 * j + 1][0], s[2 * j + 1][1]),
                              pack2<bf16>(s[2 * j + 1][2], s[2 * j + 1][3])};
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        uint32_t b[4];
        ldmatrix_x4_trans(b, chunkAt<D>(vt, j * 16 + lane % 16, n * 2 + lane / 16));
        mma_m16n16k16<bf16>(o[2 * n], o[2 * n + 1], pf, b);
      }
    }
  }
  cp_async_wait<0>();
  sync_block();

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float l = rowSum[h];
    l += shfl_xor(l, 1);
    l += shfl_xor(l, 2);
    const int r = warp * 16 + lane / 4 + 8 * h;
    if (lane % 4 == 0 && query + r < p.queries)
      p.lse[size_t(head) * p.queries + query + r] = (rowMax[h] * p.scaleLog2 + log2_approx(l)) * 0.69314718f;
    const float inverse = l == 0.f ? 0.f : 1.f / l;
    // Each warp rewrites only its own query rows, long since in registers.
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      st_shared(chunkAt<D>(sq, r, n) + lane % 4 * 4, pack2<bf16>(o[n][2 * h] * inverse, o[n][2 * h + 1] * inverse));
  }
  sync_warp();
  uint16_t* out = p.o + size_t(head) * p.queries * D;
#pragma unroll
  for (int i = lane; i < 16 * D / 8; i += 32) {
    const int r = warp * 16 + i / (D / 8), c = i % (D / 8);
    if (query + r < p.queries) st_global(out + size_t(query + r) * D + c * 8, ld_shared_128(chunkAt<D>(sq, r, c)));
  }
}

}  // namespace tilewise::probe
