// mbarrier: phases, counts and parities, without TMA.
#include "../values.h"

namespace tilewise::cuda::conformance {
namespace {

constexpr int kRounds = 7;

struct HandOverParams {
  uint32_t* out;  // per thread of the second warp
};

// Warp 0 makes numbers and warp 1 uses them. All 32 makers arrive at `full`, one user at `empty`. The first wait for
// `empty` is for the phase before the first, which counts as over.
__global__ void handOver(const __grid_constant__ HandOverParams p) {
  const saddr full = smem_base(), empty = full + 8, slots = full + 16;
  const int lane = lane_id(), warp = warp_id();
  if (thread_index() == 0) {
    mbarrier_init(full, 32);
    mbarrier_init(empty, 1);
    fence_mbarrier_init();
  }
  sync_block();
  uint32_t sum = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto parity = uint32_t(round & 1);
    if (warp == 0) {
      mbarrier_wait(empty, parity ^ 1);
      st_shared(slots + lane * 4, uint32_t(lane * 1000 + round));
      mbarrier_arrive(full);
    } else {
      mbarrier_wait(full, parity);
      sum += ld_shared_u32(slots + (31 - lane) * 4);
      sync_warp();
      if (lane == 0) mbarrier_arrive(empty);
    }
  }
  if (warp == 1) p.out[lane] = sum;
}

CONFORMANCE(handOvers) {
  auto* out = allocate<uint32_t>(32);
  launch(handOver, {1, 64, 256}, HandOverParams{out});
  const auto got = download(out, 32);
  bool isOk = true;
  for (int lane = 0; lane < 32; ++lane) {
    isOk = isOk && got[lane] == uint32_t((31 - lane) * 1000 * kRounds + kRounds * (kRounds - 1) / 2);
  }
  report("mbarrier phases hand over between warps", isOk);
}

}  // namespace
}  // namespace tilewise::cuda::conformance
