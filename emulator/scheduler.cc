// The scheduler: straight from one thread to the next that is ready, by bit masks of warps and lanes.
#include "scheduler.h"

#include "errors.h"

namespace tilewise::emulator {

__thread ThreadView* currentThread;
__thread BlockView* currentBlock;

namespace {

constexpr uint32_t bit(uint32_t index) { return 1u << index; }
constexpr uint32_t above(uint32_t index) { return ~((2u << index) - 1); }
uint32_t lowest(uint32_t mask) { return uint32_t(__builtin_ctz(mask)); }
uint32_t randomBit(uint32_t mask) {
  for (uint64_t skip = block().random() % uint64_t(__builtin_popcount(mask)); skip > 0; --skip) mask &= mask - 1;
  return lowest(mask);
}
// The next set bit in turn.
uint32_t nextBit(uint32_t mask, uint32_t after) {
  const uint32_t later = mask & above(after);
  return lowest(later != 0 ? later : mask);
}

Thread& threadAt(uint32_t warp, uint32_t lane) { return block().threadStates[warp * kLanes + lane]; }

void takeFromReady(const Thread& thread) {
  Warp& warp = warpOf(thread);
  warp.ready &= ~bit(thread.lane);
  if (warp.ready == 0) block().readyWarps &= ~bit(thread.warp);
}

void continueIn(Thread& next) {
  takeFromReady(next);
  Thread& previous = self();
  if (&previous == &next) return;
  currentThread = &next;
  ++block().stats.switches;
  switchFibers(previous.fiber, next.fiber);
}

Thread& inOrder() {
  const Thread& running = self();
  const uint32_t ready = warpOf(running).ready;
  if (ready != 0) return threadAt(running.warp, nextBit(ready, running.lane));
  const uint32_t warp = nextBit(block().readyWarps, running.warp);
  return threadAt(warp, lowest(block().warps[warp].ready));
}
Thread& atRandom() {
  const uint32_t warp = randomBit(block().readyWarps);
  return threadAt(warp, randomBit(block().warps[warp].ready));
}

Thread& pickNext() {
  Block& running = block();
  for (;;) {
    const bool isSeeded = running.options.seed != 0;
    if (isSeeded) running.tma.landSometimes();
    if (running.readyWarps != 0) return isSeeded ? atRandom() : inOrder();
    // Nobody can go on until a copy lands.
    if (!running.tma.hasLoads()) failDeadlocked();
    running.tma.landOne();
  }
}

[[noreturn]] void returnToWorker() {
  switchFibers(self().fiber, block().worker);
  __builtin_unreachable();
}

// Where every fiber starts. Exceptions end here: below lies no caller.
void threadMain() {
  beginFiber();
  Block& running = block();
  try {
    running.kernel();
    Thread& thread = self();
    thread.hasExited = true;
    warpOf(thread).running &= ~bit(thread.lane);
    if (--running.alive > 0) continueIn(pickNext());
  } catch (...) {
    running.error = std::current_exception();
  }
  returnToWorker();
}

}  // namespace

void makeReady(const Thread& thread) {
  warpOf(thread).ready |= bit(thread.lane);
  block().readyWarps |= bit(thread.warp);
}

void suspend() {
  const Thread& running = self();
  const uint32_t ready = warpOf(running).ready;
  if (ready != 0 && block().options.seed == 0) {  // the usual case: on to the next lane of the same warp
    continueIn(threadAt(running.warp, nextBit(ready, running.lane)));
  } else {
    continueIn(pickNext());
  }
}

void yieldIfSeeded() {
  if (block().options.seed == 0) return;
  makeReady(self());
  suspend();
}
void yieldSometimes() {
  if (block().chance(8)) yieldIfSeeded();
}

void runBlock(Block& running, const Stacks& stacks) {
  currentBlock = &running;
  for (Thread& thread : running.threadStates) {
    thread.fiber = stacks.prepare(thread.index, threadMain);
    makeReady(thread);
  }
  Thread& first = running.threadStates[running.options.seed != 0 ? running.random() % running.threads : 0];
  currentThread = &first;
  takeFromReady(first);
  running.worker = callersFiber();
  switchFibers(running.worker, first.fiber);
  if (running.error) std::rethrow_exception(running.error);
  if (running.tma.hasLoads()) fail("the block exits with TMA loads in flight");
  for (const Thread& thread : running.threadStates) {
    if (!thread.stores.areDone()) fail("the block exits with TMA stores that nobody waited for");
  }
  const std::string fault = running.registers.faultAtEnd();
  if (!fault.empty()) fail(fault);
}

}  // namespace tilewise::emulator
