// Branches, the end of a kernel, and barriers of the block. Whole warps come to those: an aligned barrier is executed
// by all lanes that are left, and threads that have left the kernel come to none.
#include <string>

#include "handlers.h"

namespace tilewise::ptx {
namespace {

Barrier& checkedBarrier(const Warp& warp, uint32_t id, uint32_t expected, bool reduces) {
  Block& block = *warp.block;
  requireAllLanes(warp);
  if (id >= std::size(block.barriers)) fail(warp, "there is no barrier " + std::to_string(id));
  if (expected == 0 || expected % kLanes != 0 || expected > block.grid.threads) {
    fail(warp, "a barrier of " + std::to_string(expected) + " threads");
  }
  Barrier& barrier = block.barriers[id];
  if (barrier.arrived > 0 && (barrier.expected != expected || barrier.reduces != reduces)) {
    fail(warp, "warps disagree on barrier " + std::to_string(id) + ", of " + std::to_string(barrier.expected) +
                   " and " + std::to_string(expected) + " threads");
  }
  barrier.expected = expected;
  barrier.reduces = reduces;
  return barrier;
}

// Where all have arrived, the waiting go on, and the barrier is as new.
void completeIfFull(Block& block, Barrier& barrier) {
  if (barrier.arrived < barrier.expected) return;
  for (Warp* warp : barrier.waiting) {
    warp->isWaiting = false;
    if (barrier.reduces) predicate(*warp, *warp->instruction, 0) = barrier.any ? kAllLanes : 0;
    if (!block.races.isEnabled()) continue;
    for (uint32_t lane = 0; lane < kLanes; ++lane) block.threads[block.threadOf(*warp, lane)].view.join(barrier.view);
  }
  barrier = Barrier();
}

void arrive(Warp& warp, Barrier& barrier, bool waits) {
  Block& block = *warp.block;
  if (block.races.isEnabled()) {
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t thread = block.threadOf(warp, lane);
      block.threads[thread].view.release(barrier.view, thread);
    }
  }
  barrier.arrived += kLanes;
  warp.isWaiting = waits;
  if (waits) barrier.waiting.push_back(&warp);
  completeIfFull(block, barrier);
}

// All lanes must say the same.
uint32_t uniform(const Warp& warp, const Instruction& in, uint32_t i) {
  const uint32_t* values = lanes<uint32_t>(warp, in, i);
  const uint32_t first = values[__builtin_ctz(warp.mask)];
  forEachLane(warp, [&](uint32_t lane) {
    if (values[lane] != first) fail(warp, lane, "lanes of one warp name different barriers");
  });
  return first;
}

void synchronizeBlock(Warp& warp, const Instruction& in) {
  arrive(warp, checkedBarrier(warp, uniform(warp, in, 0), warp.block->grid.threads, false), true);
}
template <bool waits>
void meet(Warp& warp, const Instruction& in) {
  arrive(warp, checkedBarrier(warp, uniform(warp, in, 0), uniform(warp, in, 1), false), waits);
}
void reduceOr(Warp& warp, const Instruction& in) {
  Barrier& barrier = checkedBarrier(warp, uniform(warp, in, 1), warp.block->grid.threads, true);
  barrier.any = barrier.any || (predicate(warp, in, 2) & warp.mask) != 0;
  arrive(warp, barrier, true);
}

}  // namespace

Opcodes controlOpcodes() {
  return {
      {"bra", "L", nullptr, Kind::branch},
      {"bra.uni", "L", nullptr, Kind::branch},
      {"ret", "", nullptr, Kind::exit},
      {"bar.sync", "w", synchronizeBlock, Kind::pause},
      {"bar.sync", "w, w", meet<true>, Kind::pause},
      {"bar.arrive", "w, w", meet<false>, Kind::pause},
      {"bar.red.or.pred", "p = w, p", reduceOr, Kind::pause},
  };
}

}  // namespace tilewise::ptx
