// A warp's way through its kernel: lanes that a branch parts go one after the other, to where they meet again.
#include "block.h"

#include <cstring>

namespace tilewise::ptx {
namespace {

// Far more than any kernel takes for a block of the tests.
constexpr uint64_t kMostSteps = 100'000'000;
constexpr size_t kMostPaths = 1000;
constexpr uint32_t kTurns = 16;  // a seeded schedule interrupts one loop in so many

uint32_t lanesOf(const Warp& warp, const Instruction& in, uint32_t lanes) {
  if (in.guard < 0) return lanes;
  uint32_t holds;
  std::memcpy(&holds, warp.registers + in.guard, sizeof holds);
  return lanes & (in.isNegated ? ~holds : holds);
}

void requireProgress(const Warp& warp) {
  if (warp.steps > kMostSteps) fail(warp, "runs for ever");
}

void diverge(Warp& warp, const Instruction& in, int32_t next, uint32_t leaving, uint32_t staying) {
  Path& path = warp.paths.back();
  if (in.join < 0 || in.join == path.join) {
    warp.paths.pop_back();  // nothing is left to do on it
  } else {
    path.next = in.join;
  }
  if (next != in.join) warp.paths.push_back({next, in.join, staying});
  if (in.target != in.join) warp.paths.push_back({in.target, in.join, leaving});
  if (warp.paths.size() > kMostPaths) fail(warp, "lanes diverge without end");
  requireProgress(warp);
}

// Along the last path, to where it ends, parts or stops. Returns whether the warp may go on.
template <bool leavesBusy>
bool runPath(Warp& warp, uint32_t lanes) {
  const Instruction* const code = warp.block->kernel.code.data();
  std::atomic<bool>* const isReached = warp.block->kernel.isReached.get();
  const int32_t join = warp.paths.back().join;
  for (int32_t next = warp.paths.back().next; next != join;) {
    if (isReached) isReached[next].store(true, std::memory_order_relaxed);
    const Instruction& in = code[next++];
    warp.instruction = &in;
    warp.mask = lanesOf(warp, in, lanes);
    ++warp.steps;
    if (leavesBusy && warp.mask != 0 && warp.busy->isAny()) requireFree(warp, in);
    if (in.kind == Kind::plain) {
      if (warp.mask != 0) in.run(warp, in);
      continue;
    }
    if (in.kind == Kind::branch) {
      if (warp.mask == 0) continue;
      if (warp.mask != lanes) {
        diverge(warp, in, next, warp.mask, lanes & ~warp.mask);
        return true;
      }
      const bool isLoop = in.target < next;
      next = in.target;
      if (!isLoop) continue;
      requireProgress(warp);
      if (!warp.block->chance(kTurns)) continue;
    } else if (in.kind == Kind::exit) {
      warp.alive &= ~warp.mask;
    } else if (warp.mask != 0) {
      in.run(warp, in);
    }
    warp.paths.back().next = next;
    return in.kind == Kind::exit;
  }
  warp.paths.back().next = join;
  return true;
}

}  // namespace

void runWarp(Warp& warp) {
  for (bool goesOn = true; goesOn && !warp.paths.empty();) {
    const Path& path = warp.paths.back();
    const uint32_t lanes = path.lanes & warp.alive;
    if (lanes == 0 || path.next == path.join) {
      warp.paths.pop_back();
    } else {
      goesOn = warp.busy ? runPath<true>(warp, lanes) : runPath<false>(warp, lanes);
    }
  }
}

}  // namespace tilewise::ptx
