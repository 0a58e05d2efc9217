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

// What a warp keeps in registers: two rows per lane, and columns as mma.sync deals them out.
template <int D>
struct AmpereState {
  float o[D / 8][4] = {}, rowMax[2] = {-INFINITY, -INFINITY}, rowSum[2] = {0.f, 0.f};
  uint32_t q[D / 16][4];
};
using AmpereScores = float[kAmpereRows / 8][4];

template <int D>
__device__ __forceinline__ void loadQueries(AmpereState<D>& state, saddr tile) {
  const int lane = lane_id(), row = warp_id() * 16 + lane % 16;
#pragma unroll
  for (int j = 0; j < D / 16; ++j) ldmatrix_x4(state.q[j], chunkAt<D>(tile, row, j * 2 + lane / 16));
}

// S = Q K^T
template <int D>
__device__ __forceinline__ void multiplyKeys(AmpereScores& s, const AmpereState<D>& state, saddr keys) {
  const int lane = lane_id();
#pragma unroll
  for (int j = 0; j < D / 16; ++j)
#pragma unroll
    for (int n = 0; n < kAmpereRows / 16; ++n) {
      uint32_t b[4];
      ldmatrix_x4(b, chunkAt<D>(keys, n * 16 + lane % 8 + lane / 16 * 8, j * 2 + lane / 8 % 2));
      mma_m16n16k16<bf16>(s[2 * n], s[2 * n + 1], state.q[j], b);
    }
}

// Hides the keys that do not exist or, with `isCausal`, that are after a query. `firstQuery` has position `shift` more.
__device__ __forceinline__ void hideKeys(AmpereScores& s, int firstKey, int keys, bool isCausal, int firstQuery,
                                         int shift) {
  const int lane = lane_id(), firstRow = firstQuery + warp_id() * 16 + lane / 4;
#pragma unroll
  for (int i = 0; i < kAmpereRows / 2; ++i) {
    const int key = firstKey + i / 4 * 8 + lane % 4 * 2 + i % 2, row = firstRow + i / 2 % 2 * 8;
    if (key >= keys || (isCausal && key > row + shift)) s[i / 4][i % 4] = -INFINITY;
  }
}

// Scores become weights; sums of before are rescaled.
template <int D>
__device__ __forceinline__ void softmaxStep(AmpereState<D>& state, AmpereScores& s, float scaleLog2) {
  constexpr int kBlocks = kAmpereRows / 8;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float m = state.rowMax[h];
#pragma unroll
    for (int n = 0; n < kBlocks; ++n) m = max_f32(m, max_f32(s[n][2 * h], s[n][2 * h + 1]));
    m = max_f32(m, shfl_xor(m, 1));
    m = max_f32(m, shfl_xor(m, 2));
    const float bias = m == -INFINITY ? 0.f : m * scaleLog2;
    const float rescale = exp2_approx(state.rowMax[h] * scaleLog2 - bias);
    state.rowMax[h] = m;
    state.rowSum[h] *= rescale;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) state.o[n][2 * h] *= rescale, state.o[n][2 * h + 1] *= rescale;
#pragma unroll
    for (int n = 0; n < kBlocks; ++n) {
      s[n][2 * h] = exp2_approx(s[n][2 * h] * scaleLog2 - bias);
      s[n][2 * h + 1] = exp2_approx(s[n][2 * h + 1] * scaleLog2 - bias);
      state.rowSum[h] += s[n][2 * h] + s[n][2 * h + 1];
    }
  }
}

// O += P V
template <int D>
__device__ __forceinline__ void addValues(AmpereState<D>& state, const AmpereScores& s, saddr values) {
  const int lane = lane_id();
#pragma unroll
  for (int j = 0; j < kAmpereRows / 16; ++j) {
    const uint32_t weights[4] = {pack2<bf16>(s[2 * j][0], s[2 * j][1]), pack2<bf16>(s[2 * j][2], s[2 * j][3]),
                                 pack2<bf16>(s[2 * j + 1][0], s[2 * j + 1][1]),
                                 pack2<bf16>(s[2 * j + 1][2], s[2 * j + 1][3])};
#pragma unroll
    for (int n = 0; n < D / 16; ++n) {
      uint32_t b[4];
      ldmatrix_x4_trans(b, chunkAt<D>(values, j * 16 + lane % 16, n * 2 + lane / 16));
      mma_m16n16k16<bf16>(state.o[2 * n], state.o[2 * n + 1], weights, b);
    }
  }
}

// Outputs through the warp's own query rows, which nobody reads any more, and lse.
template <int D>
__device__ __forceinline__ void storeRows(const AmpereParams& p, AmpereState<D>& state, saddr tile, int head,
                                          int query) {
  const int lane = lane_id(), firstRow = warp_id() * 16;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float l = state.rowSum[h];
    l += shfl_xor(l, 1);
    l += shfl_xor(l, 2);
    const int r = firstRow + lane / 4 + 8 * h;
    if (lane % 4 == 0 && query + r < p.queries)
      p.lse[size_t(head) * p.queries + query + r] = (state.rowMax[h] * p.scaleLog2 + log2_approx(l)) * 0.69314718f;
    const float inverse = l == 0.f ? 0.f : 1.f / l;
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      st_shared(chunkAt<D>(tile, r, n) + lane % 4 * 4,
                pack2<bf16>(state.o[n][2 * h] * inverse, state.o[n][2 * h + 1] * inverse));
  }
  sync_warp();
  uint16_t* out = p.o + size_t(head) * p.queries * D;
#pragma unroll
  for (int i = lane; i < 16 * D / 8; i += 32) {
    const int r = firstRow + i / (D / 8), c = i % (D / 8);
    if (query + r < p.queries) st_global(out + size_t(query + r) * D + c * 8, ld_shared_128(chunkAt<D>(tile, r, c)));
  }
}

template <int D, bool Causal>
__device__ __forceinline__ void ampereAttention(const AmpereParams& p) {
  constexpr int BM = kAmpereRows, BN = kAmpereRows, kTile = BN * D * 2;
  const saddr sq = smem_base(), sk = sq + kTile, sv = sk + 2 * kTile;
  const int head = int(block_index()) / p.queryTiles;
  const int query = (p.queryTiles - 1 - int(block_index()) % p.queryTiles) * BM;
  const uint16_t* k = p.k + size_t(head) * p.keys * D;
  const uint16_t* v = p.v + size_t(head) * p.keys * D;
  const int shift = p.keys - p.queries;
  int tiles = ceilDiv(p.keys, BN);
  if (Causal) tiles = larger(smaller(tiles, ceilDiv(query + BM + shift, BN)), 0);

  copyTile<D>(sq, p.q + size_t(head) * p.queries * D, query, p.queries);
  if (tiles > 0) copyTile<D>(sk, k, 0, p.keys);
  cp_async_commit();
  if (tiles > 0) copyTile<D>(sv, v, 0, p.keys);
  cp_async_commit();

  AmpereState<D> state;
  for (int t = 0; t < tiles; ++t) {
    const saddr kt = sk + (t & 1) * kTile, vt = sv + (t & 1) * kTile;
    cp_async_wait<1>();  // this K, and Q; V may be on its way
    sync_block();
    if (t == 0) loadQueries(state, sq);
    if (t + 1 < tiles) copyTile<D>(sk + (~t & 1) * kTile, k, (t + 1) * BN, p.keys);
    cp_async_commit();

    AmpereScores s = {};
    multiplyKeys(s, state, kt);
    if ((t + 1) * BN > p.keys || (Causal && (t + 1) * BN > query + shift)) {
      hideKeys(s, t * BN, p.keys, Causal, query, shift);
    }
    softmaxStep(state, s, p.scaleLog2);

    cp_async_wait<1>();  // this V; the next K may be on its way
    sync_block();
    if (t + 1 < tiles) copyTile<D>(sv + (~t & 1) * kTile, v, (t + 1) * BN, p.keys);
    cp_async_commit();
    addValues(state, s, vt);
  }
  cp_async_wait<0>();
  sync_block();
  storeRows(p, state, sq, head, query);
}

}  // namespace tilewise::probe
