// Barriers of the block: bar.sync, bar.arrive, and bar.red.or.
#include "barrier.h"

#include "block.h"
#include "errors.h"
#include "scheduler.h"

namespace tilewise::emulator {
namespace {

constexpr int kBarriers = 16;

// `threads` 0 is the whole block, none of which may have exited.
NamedBarrier& check(int id, int threads, bool reduces) {
  const Block& running = block();
  if (threads == 0) {
    threads = int(running.threads);
    if (running.alive != running.threads) fail("a barrier of the whole block after some threads have exited");
  }
  if (id < 0 || id >= kBarriers) fail("there is no barrier " + std::to_string(id));
  if (threads % int(kLanes) != 0 || threads > int(running.threads)) {
    fail("a barrier of " + std::to_string(threads) + " threads");
  }
  NamedBarrier& barrier = block().barriers[id];
  if (barrier.arrived > 0 && (barrier.expected != threads || barrier.reduces != reduces)) {
    fail("threads disagree on barrier " + std::to_string(id) + ", of " + std::to_string(barrier.expected) + " and " +
         std::to_string(threads) + " threads @" + sourceLine(self().where));
  }
  barrier.expected = threads;
  barrier.reduces = reduces;
  return barrier;
}

void arrive(int id, int threads, bool waits, bool* vote) {
  NamedBarrier& barrier = check(id, threads, vote != nullptr);
  const bool checksRaces = block().races.isEnabled();
  if (checksRaces) release(barrier.view);
  if (vote != nullptr) {
    barrier.any = barrier.any || *vote;
    self().arguments = vote;
  }
  if (waits) barrier.waiting.push_back(&self());
  if (++barrier.arrived < barrier.expected) {
    if (waits) {
      suspend();
    } else {
      yieldSometimes();
    }
    return;
  }
  for (Thread* thread : barrier.waiting) {
    if (checksRaces) thread->view.join(barrier.view);
    if (barrier.reduces) *static_cast<bool*>(const_cast<void*>(thread->arguments)) = barrier.any;
    if (thread != &self()) makeReady(*thread);
  }
  barrier = NamedBarrier();
  yieldIfSeeded();
}

}  // namespace

TW_OPERATION void barrierSync(int id, int threads) {
  self().operation = "bar.sync";
  self().where = TW_WHERE;
  arrive(id, threads, true, nullptr);
}

TW_OPERATION void barrierArrive(int id, int threads) {
  self().operation = "bar.arrive";
  self().where = TW_WHERE;
  arrive(id, threads, false, nullptr);
}

TW_OPERATION bool barrierOr(bool yes) {
  self().operation = "bar.red.or";
  self().where = TW_WHERE;
  arrive(0, 0, true, &yes);
  return yes;
}

}  // namespace tilewise::emulator
