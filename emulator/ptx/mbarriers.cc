// mbarrier and the fences that it and TMA need: see ../mbarriers.h. A warp waits in try_wait while no lane's phase is
// over; the end of a phase, or by the seed time, lets it try again, as a program must.
#include <string>

#include "handlers.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kTimeouts = 8;  // one in so many waits of a seeded schedule gives up at once

uint32_t addressOf(const Warp& warp, const Instruction& in, uint32_t i, uint32_t lane) {
  return lanes<uint32_t>(warp, in, i)[lane] + uint32_t(in.immediates[0]);
}

void init(Warp& warp, const Instruction& in) {
  const uint32_t* counts = lanes<uint32_t>(warp, in, 1);
  forEachLane(warp, [&](uint32_t lane) {
    warp.block->mbarriers.init(addressOf(warp, in, 0, lane), counts[lane], callerOf(warp, lane));
  });
}

template <bool expectsBytes>
void arrive(Warp& warp, const Instruction& in) {
  forEachLane(warp, [&](uint32_t lane) {
    const uint32_t bytes = expectsBytes ? lanes<uint32_t>(warp, in, 1)[lane] : 0;
    warp.block->mbarriers.arrive(addressOf(warp, in, 0, lane), bytes, callerOf(warp, lane));
  });
}

void tryWait(Warp& warp, const Instruction& in) {
  Block& block = *warp.block;
  const uint32_t* parities = lanes<uint32_t>(warp, in, 2);
  uint32_t over = 0;
  forEachLane(warp, [&](uint32_t lane) {
    if (block.mbarriers.isOver(addressOf(warp, in, 1, lane), parities[lane], callerOf(warp, lane))) over |= 1u << lane;
  });
  writePredicate(warp, predicate(warp, in, 0), over);
  if (over != 0 || block.chance(kTimeouts)) return;
  warp.isWaiting = true;
  forEachLane(warp, [&](uint32_t lane) { block.mbarriers.await(addressOf(warp, in, 1, lane), warp.index); });
}

void fenceInit(Warp& warp, const Instruction&) {
  forEachLane(warp, [&](uint32_t lane) { warp.block->mbarriers.fence(callerOf(warp, lane)); });
}

void fenceProxy(Warp& warp, const Instruction&) {
  forEachLane(warp, [&](uint32_t lane) { warp.block->fenceProxy(callerOf(warp, lane)); });
}

}  // namespace

Opcodes mbarrierOpcodes() {
  return {
      {"mbarrier.init.shared::cta.b64", "[w], w", init},
      {"mbarrier.arrive.shared::cta.b64", "_, [w]", arrive<false>, Kind::pause},
      {"mbarrier.arrive.expect_tx.shared::cta.b64", "_, [w], w", arrive<true>, Kind::pause},
      {"mbarrier.try_wait.parity.shared::cta.b64", "p = [w], w", tryWait, Kind::pause},
      {"fence.mbarrier_init.release.cluster", "", fenceInit},
      {"fence.proxy.async.shared::cta", "", fenceProxy},
  };
}

}  // namespace tilewise::ptx
