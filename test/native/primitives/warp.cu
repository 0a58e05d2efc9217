// Shuffles, votes, indices and barriers.
#include "values.h"

namespace tilewise::cuda::conformance {
namespace {

// ---- indices

struct IndexParams {
  uint32_t* out;  // 6 numbers per thread
};

__global__ void indices(const __grid_constant__ IndexParams p) {
  uint32_t* mine = p.out + (block_index() * threads_per_block() + thread_index()) * 6;
  const uint32_t found[6] = {block_index(),       block_count(),       thread_index(),
                             threads_per_block(), uint32_t(lane_id()), uint32_t(warp_id())};
  for (int i = 0; i < 6; ++i) mine[i] = found[i];
}

CONFORMANCE(threadIndices) {
  constexpr uint32_t kBlocks = 3, kThreads = 96;
  auto* out = allocate<uint32_t>(kBlocks * kThreads * 6);
  launch(indices, {kBlocks, kThreads, 0}, IndexParams{out});
  const auto got = download(out, kBlocks * kThreads * 6);
  bool isOk = true;
  for (uint32_t i = 0; i < kBlocks * kThreads; ++i) {
    const uint32_t thread = i % kThreads;
    const uint32_t want[6] = {i / kThreads, kBlocks, thread, kThreads, thread % 32, thread / 32};
    for (int k = 0; k < 6; ++k) isOk = isOk && got[i * 6 + k] == want[k];
  }
  report("indices of blocks, threads, warps and lanes", isOk);
}

// ---- shuffles and votes

constexpr int kExchanged = 9;

struct ExchangeParams {
  uint32_t* out;  // 32 rounds of kExchanged numbers per lane
};

TW_HOST_DEVICE float asFloat(int lane) { return 1.5f * float(lane) - 7; }
TW_HOST_DEVICE bool votes(int lane, int round) { return (lane * 11 + round * 3) % 7 < 3; }

__device__ uint32_t wordOf(float x) {
  const saddr slot = smem_base() + lane_id() * 4;
  st_shared(slot, x);
  return ld_shared_u32(slot);
}

__global__ void exchange(const __grid_constant__ ExchangeParams p) {
  const int lane = lane_id();
  for (int round = 0; round < 32; ++round) {
    const uint32_t got[kExchanged] = {wordOf(shfl_xor(asFloat(lane), round)),
                                      shfl_xor(uint32_t(lane * 3), round),
                                      uint32_t(shfl_xor(-lane, round)),
                                      wordOf(shfl(asFloat(lane), (lane + round) % 32)),
                                      shfl(uint32_t(lane * 3), (lane + round) % 32),
                                      uint32_t(shfl(-lane, round)),
                                      uint32_t(shfl_up(lane * 5, round)),
                                      ballot(votes(lane, round)),
                                      uint32_t(popc(0x9E3779B9u << round | uint32_t(lane)))};
    for (int i = 0; i < kExchanged; ++i) p.out[(round * 32 + lane) * kExchanged + i] = got[i];
  }
}

CONFORMANCE(exchanges) {
  auto* out = allocate<uint32_t>(32 * 32 * kExchanged);
  launch(exchange, {1, 32, 128}, ExchangeParams{out});
  const auto got = download(out, 32 * 32 * kExchanged);
  bool isXor = true, isIndexed = true, isUp = true, isVote = true, isCount = true;
  for (int round = 0; round < 32; ++round) {
    uint32_t ballots = 0;
    for (int lane = 0; lane < 32; ++lane) ballots |= uint32_t(votes(lane, round)) << lane;
    for (int lane = 0; lane < 32; ++lane) {
      const uint32_t* mine = &got[(round * 32 + lane) * kExchanged];
      const int other = lane ^ round, named = (lane + round) % 32;
      isXor =
          isXor && mine[0] == bitsOf(asFloat(other)) && mine[1] == uint32_t(other * 3) && mine[2] == uint32_t(-other);
      isIndexed = isIndexed && mine[3] == bitsOf(asFloat(named)) && mine[4] == uint32_t(named * 3) &&
                  mine[5] == uint32_t(-round);
      isUp = isUp && mine[6] == uint32_t((lane >= round ? lane - round : lane) * 5);
      isVote = isVote && mine[7] == ballots;
      uint32_t bits = 0;
      for (uint32_t left = 0x9E3779B9u << round | uint32_t(lane); left != 0; left >>= 1) bits += left & 1;
      isCount = isCount && mine[8] == bits;
    }
  }
  report("shfl.bfly of float, unsigned and signed", isXor);
  report("shfl.idx of float, unsigned and signed", isIndexed);
  report("shfl.up keeps a lane's own where there is none below", isUp);
  report("vote.ballot", isVote);
  report("popc", isCount);
}

// ---- barriers

// nvcc unrolls loops over rounds by four: with less than that, with rounds left over, and without.
constexpr int kRoundCounts[] = {1, 2, 3, 4, 11};

struct BarrierParams {
  uint32_t* out;
  int rounds;
};

// In round r thread r alone says yes, where there is one. Every thread counts the rounds with a yes.
__global__ void reduceVotes(const __grid_constant__ BarrierParams p) {
  uint32_t count = 0;
  for (int round = 0; round < p.rounds; ++round) count += sync_block_or(int(thread_index()) == round);
  p.out[thread_index()] = count;
}

CONFORMANCE(blockVotes) {
  constexpr uint32_t kThreads = 128;
  auto* out = allocate<uint32_t>(kThreads);
  bool isOk = true;
  const auto check = [&](int rounds, uint32_t expected) {
    launch(reduceVotes, {1, kThreads, 0}, BarrierParams{out, rounds});
    for (const uint32_t count : download(out, kThreads)) isOk = isOk && count == expected;
  };
  for (const int rounds : kRoundCounts) check(rounds, uint32_t(rounds));
  check(kThreads + 1, kThreads);
  report("barrier.red.or tells all threads of any", isOk);
}

// Warps 0 and 1 make numbers, warps 2 and 3 use them: barrier 1 says that a slot is full, barrier 2 that it is free.
__global__ void handOver(const __grid_constant__ BarrierParams p) {
  const saddr slot = smem_base();
  const uint32_t thread = thread_index();
  uint32_t sum = 0;
  for (int round = 0; round < p.rounds; ++round) {
    if (thread < 64) {
      if (round > 0) barrier_sync(2, 128);
      st_shared(slot + thread * 4, thread * 1000 + uint32_t(round));
      barrier_arrive(1, 128);
    } else {
      barrier_sync(1, 128);
      sum += ld_shared_u32(slot + (127 - thread) * 4);
      if (round + 1 < p.rounds) barrier_arrive(2, 128);
    }
  }
  p.out[thread] = sum;
}

CONFORMANCE(namedBarriers) {
  auto* out = allocate<uint32_t>(128);
  bool isOk = true;
  for (const int rounds : kRoundCounts) {
    launch(handOver, {1, 128, 256}, BarrierParams{out, rounds});
    const auto got = download(out, 128);
    const uint32_t n = uint32_t(rounds);
    for (uint32_t thread = 64; thread < 128; ++thread)
      isOk = isOk && got[thread] == (127 - thread) * 1000 * n + n * (n - 1) / 2;
  }
  report("bar.sync and bar.arrive hand over between warps", isOk);
}

// A rotation through shared memory, ordered by barriers of the warp and of the block.
__global__ void rotate(const __grid_constant__ BarrierParams p) {
  const saddr slots = smem_base();
  const uint32_t thread = thread_index(), lane = uint32_t(lane_id()), threads = threads_per_block();
  uint32_t value = thread;
  for (int round = 0; round < p.rounds; ++round) {
    st_shared(slots + thread * 4, value);
    sync_warp();
    value = ld_shared_u32(slots + (thread - lane + (lane + 1) % 32) * 4);
    sync_block();
    st_shared(slots + thread * 4, value);
    sync_block();
    value = ld_shared_u32(slots + (thread + 32) % threads * 4);
    sync_block();
  }
  p.out[thread] = value;
}

CONFORMANCE(rotations) {
  constexpr uint32_t kThreads = 128;
  auto* out = allocate<uint32_t>(kThreads);
  bool isOk = true;
  for (const int rounds : kRoundCounts) {
    launch(rotate, {1, kThreads, kThreads * 4}, BarrierParams{out, rounds});
    const auto got = download(out, kThreads);
    const uint32_t n = uint32_t(rounds);
    for (uint32_t thread = 0; thread < kThreads; ++thread)
      isOk = isOk && got[thread] == (thread / 32 + n) % 4 * 32 + (thread + n) % 32;
  }
  report("bar.warp.sync and bar.sync order shared memory", isOk);
}

}  // namespace
}  // namespace tilewise::cuda::conformance
