// Dense attention shaped like FlashAttention 3, to find out on the card which tiles, which order of issue and which
// overlap pay: a producer warpgroup feeds K and V through TMA to consumer warpgroups of 64 queries each; while a
// consumer's P V runs, its next Q K^T is already issued. One contiguous [heads, tokens, D] tensor each, bfloat16.
// Reader: whoever writes the library's own sm_90a kernel. A measurement probe, not part of the library.
#pragma once

#include "../../cuda/prims/prims.h"

namespace tilewise::probe {

using namespace cuda;

struct HopperParams {
  TensorMap q, k, v, o;  // (d, token, head): boxes of 64 columns, swizzled by 128 bytes
  float* lse;
  int queries, keys, queryTiles;
  float scaleLog2;
};

enum class Softmax { real, leftOut };      // left out: what the products alone would take
enum class Turns { none, oneAfterAnother };  // do consumers take turns in issuing products

template <int D, int BN, int Groups>
struct HopperTile {
  static constexpr int queries = 64 * Groups, threads = 128 * (Groups + 1), stages = 2;
  static constexpr int panel = 64;  // columns of 128 bytes
  // Byte offsets from smem_base().
  static constexpr int stageBytes = BN * D * 2, k = queries * D * 2, v = k + stages * stageBytes;
  static constexpr int qFull = v + stages * stageBytes, kFull = qFull + 8, kEmpty = kFull + 8 * stages;
  static constexpr int vFull = kEmpty + 8 * stages, vEmpty = vFull + 8 * stages, bytes = vEmpty + 8 * stages;
  // What setmaxnreg moves from the producer to the consumers.
  static constexpr int producerRegisters = Groups == 2 ? 24 : 32, consumerRegisters = Groups == 2 ? 240 : 160;
};

template <int D, int Rows>
__device__ __forceinline__ void loadPanels(saddr to, const TensorMap& map, saddr barrier, int row, int head) {
  mbarrier_arrive_expect_tx(barrier, Rows * D * 2);
#pragma unroll
  for (int c = 0; c < D / 64; ++c) tma_load(to + c * Rows * 128, map, barrier, c * 64, row, head);
}

template <int D, int BN, int Groups>
__device__ __forceinline__ void produce(const HopperParams& p, int tiles, int query, int head) {
  using T = HopperTile<D, BN, Groups>;
  const saddr shared = smem_base();
  loadPanels<D, T::queries>(shared, p.q, shared + T::qFull, query, head);
  for (int t = 0; t < tiles; ++t) {
    const int stage = t % T::stages, phase = t / T::stages & 1;
    mbarrier_wait(shared + T::kEmpty + 8 * stage, phase ^ 1);
    loadPanels<D, BN>(shared + T::k + stage * T::stageBytes, p.k, shared + T::kFull + 8 * stage, t * BN, head);
    mbarrier_wait(shared + T::vEmpty + 8 * stage, phase ^ 1);
    loadPanels<D, BN>(shared + T::v + stage * T::stageBytes, p.v, shared + T::vFull + 8 * stage, t * BN, head);
  }
}

// Running maximum and sum of a thread's two rows.
template <int BN>
struct Rows {
  float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f}, rescale[2] = {1.f, 1.f};

  // Scores to probabilities; leaves in rescale what the output so far is to be multiplied by.
  __device__ __forceinline__ void step(float (&s)[BN / 2], float scaleLog2) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float m = max[h];
#pragma unroll
      for (int n = 0; n < BN / 8; ++n) m = max_f32(m, max_f32(s[4 * n + 2 * h], s[4 * n + 2 * h + 1]));
      m = max_f32(m, shfl_xor(m, 1));
      m = max_f32(m, shfl_xor(m, 2));
      const float bias = m == -INFINITY ? 0.f : m * scaleLog2;
      rescale[h] = exp2_approx(max[h] * scaleLog2 - bias);
      max[h] = m;
      sum[h] *= rescale[h];
#pragma unroll
      for (int n = 0; n < BN / 8; ++n)
#pragma unroll
        for (int i = 4 * n + 2 * h; i < 4 * n + 2 * h + 2; ++i) {
          s[i] = exp2_approx(s[i] * scaleLog2 - bias);
          sum[h] += s[i];
        }
    }
  }
};

template <int D, int BN, int Groups>
struct Consumer {
  using T = HopperTile<D, BN, Groups>;
  const HopperParams& p;
  const int group, query, head;  // query: this thread's first row, of two
  const int groupQuery;          // this warpgroup's first row
  float o[D / 2] = {}, s[BN / 2];
  uint32_t probabilities[BN / 16][4];
  Rows<BN> rows;

  __device__ __forceinline__ void issueScores(int tile) {
    const saddr shared = smem_base();
    const uint64_t q = smem_desc(shared + group * 64 * 128, 16, 1024, Swizzle::b128);
    const uint64_t k = smem_desc(shared + T::k + tile % T::stages * T::stageBytes, 16, 1024, Swizzle::b128);
#pragma unroll
    for (int j = 0; j < D / 16; ++j) {
      const int panel = j / 4, step = j % 4 * 32;
      wgmma<bf16, BN>(s, q + ((panel * T::queries * 128 + step) >> 4), k + ((panel * BN * 128 + step) >> 4), j > 0);
    }
    wgmma_commit();
  }

  __device__ __forceinline__ void issueOutput(int tile) {
    const saddr at = smem_base() + T::v + tile % T::stages * T::stageBytes;
    const uint64_t v = smem_desc(at, BN * 128, 1024, Swizzle::b128);
#pragma unroll
    for (int j = 0; j < BN / 16; ++j) wgmma<bf16, D, Major::mn>(o, probabilities[j], v + ((j * 16 * 128) >> 4), true);
    wgmma_commit();
  }

  template <bool Causal>
  __device__ __forceinline__ void mask(int tile) {
    const int shift = p.keys - p.queries, end = (tile + 1) * BN;
    if (end <= p.keys && !(Causal && end > groupQuery + shift)) return;
#pragma unroll
    for (int i = 0; i < BN / 2; ++i) {
      const int key = tile * BN + i / 4 * 8 + lane_id() % 4 * 2 + i % 2, row = query + i / 2 % 2 * 8;
      if (key >= p.keys || (Causal && key > row + shift)) s[i] = -INFINITY;
    }
  }

  __device__ __forceinline__ void pack() {
#pragma unroll
    for (int j = 0; j < BN / 16; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) probabilities[j][i] = pack2<bf16>(s[8 * j + 2 * i], s[8 * j + 2 * i + 1]);
  }

  __device__ __forceinline__ void finish() {
    float inverse[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float l = rows.sum[h];
      l += shfl_xor(l, 1);
      l += shfl_xor(l, 2);
      inverse[h] = l == 0.f ? 0.f : 1.f / l;
      if (lane_id() % 4 == 0 && query + 8 * h < p.queries)
        st_global(p.lse + size_t(head) * p.queries + query + 8 * h,
                  (rows.max[h] * p.scaleLog2 + log2_approx(l)) * 0.69314718f);
    }
    // Through this warpgroup's own part of the query tile, which it has finished reading.
    const saddr mine = smem_base() + group * 64 * 128;
    const int r = warp_id() % 4 * 16 + lane_id() % 16, c = lane_id() / 16;
#pragma unroll
    for (int n = 0; n < D / 16; ++n) {
      const float* x = o + 8 * n;
      const uint32_t f[4] = {
          pack2<bf16>(x[0] * inverse[0], x[1] * inverse[0]), pack2<bf16>(x[2] * inverse[1], x[3] * inverse[1]),
          pack2<bf16>(x[4] * inverse[0], x[5] * inverse[0]), pack2<bf16>(x[6] * inverse[1], x[7] * inverse[1])};
      stmatrix_x4(mine + n / 4 * T::queries * 128 + r * 128 + (((n % 4 * 2 + c) ^ (r & 7)) << 4), f);
    }
    fence_proxy_async();
    barrier_sync(1 + group, 128);
    if (warp_id() % 4 == 0 && elect_one()) {
#pragma unroll
      for (int i = 0; i < D / 64; ++i) tma_store(p.o, mine + i * T::queries * 128, i * 64, groupQuery, head);
      tma_store_commit();
      tma_store_wait<0>();
    }
  }
};

template <int D, int BN, int Groups, bool Causal, Softmax S, Turns Order>
__device__ __forceinline__ void consume(const HopperParams& p, int tiles, int queryTile, int head, int group) {
  using T = HopperTile<D, BN, Groups>;
  const saddr shared = smem_base();
  const bool isLeader = thread_index() % 128 == 0;
  const int groupQuery = queryTile + group * 64;
  Consumer<D, BN, Groups> c{p, group, groupQuery + warp_id() % 4 * 16 + lane_id() / 4, head, groupQuery};
  auto release = [&](int barriers, int stage) {
    if (isLeader) mbarrier_arrive(shared + barriers + 8 * stage);
  };
  auto soften = [&] {
    if (S == Softmax::real) c.rows.step(c.s, p.scaleLog2);
  };
  constexpr int kTurn = 1 + Groups;  // the named barriers before it belong to finish()
  const bool isLast = group == Groups - 1;
  if (Order == Turns::oneAfterAnother && isLast && tiles > 1) barrier_arrive(kTurn, 256);

  mbarrier_wait(shared + T::qFull, 0);
  if (tiles > 0) {
    mbarrier_wait(shared + T::kFull, 0);
    wgmma_fence();
    c.issueScores(0);
    wgmma_wait<0>(c.s);
    release(T::kEmpty, 0);
    c.template mask<Causal>(0);
    soften();
    c.pack();
    for (int t = 0; t < tiles - 1; ++t) {
      const int stage = t % T::stages, phase = t / T::stages & 1;
      const int next = (t + 1) % T::stages, nextPhase = (t + 1) / T::stages & 1;
      mbarrier_wait(shared + T::kFull + 8 * next, nextPhase);
      if (Order == Turns::oneAfterAnother) barrier_sync(kTurn + group, 256);
      wgmma_fence();
      c.issueScores(t + 1);
      mbarrier_wait(shared + T::vFull + 8 * stage, phase);
      wgmma_fence();
      c.issueOutput(t);
      if (Order == Turns::oneAfterAnother && !(isLast && t == tiles - 2))
        barrier_arrive(kTurn + (group + 1) % Groups, 256);
      wgmma_wait<1>(c.s);
      release(T::kEmpty, next);
      c.template mask<Causal>(t + 1);
      soften();
      wgmma_wait<0>(c.o);
      release(T::vEmpty, stage);
      c.pack();
#pragma unroll
      for (int i = 0; i < D / 2; ++i) c.o[i] *= c.rows.rescale[i / 2 % 2];
    }
    const int t = tiles - 1;
    mbarrier_wait(shared + T::vFull + 8 * (t % T::stages), t / T::stages & 1);
    wgmma_fence();
    c.issueOutput(t);
    wgmma_wait<0>(c.o);
  }
  c.finish();
}

template <int D, int BN, int Groups, bool Causal, Softmax S, Turns Order>
__device__ __forceinline__ void hopperAttention(const HopperParams& p) {
  using T = HopperTile<D, BN, Groups>;
  const saddr shared = smem_base();
  // The longest tiles of a causal problem first.
  const int head = int(block_index()) / p.queryTiles, tile = p.queryTiles - 1 - int(block_index()) % p.queryTiles;
  const int query = tile * T::queries;
  int tiles = ceilDiv(p.keys, BN);
  if (Causal) tiles = larger(smaller(tiles, ceilDiv(query + T::queries + p.keys - p.queries, BN)), 0);

  if (thread_index() == 0) {
    mbarrier_init(shared + T::qFull, 1);
    for (int i = 0; i < T::stages; ++i) {
      mbarrier_init(shared + T::kFull + 8 * i, 1);
      mbarrier_init(shared + T::vFull + 8 * i, 1);
      mbarrier_init(shared + T::kEmpty + 8 * i, Groups);
      mbarrier_init(shared + T::vEmpty + 8 * i, Groups);
    }
    fence_mbarrier_init();
  }
  sync_block();

  const int group = warp_id() / 4;
  if (group == 0) {
    setmaxnreg_dec<T::producerRegisters>();
    if (warp_id() == 0 && elect_one()) produce<D, BN, Groups>(p, tiles, query, head);
  } else {
    setmaxnreg_inc<T::consumerRegisters>();
    consume<D, BN, Groups, Causal, S, Order>(p, tiles, query, head, group - 1);
  }
}

}  // namespace tilewise::probe
