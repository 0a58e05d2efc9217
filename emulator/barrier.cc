// Barriers of the block: bar.sync, bar.arrive, and bar.red.or. All are aligned: the lanes of a warp come together.
#include "barrier.h"

#include "block.h"
#include "errors.h"
#include "rendezvous.h"
#include "scheduler.h"
#include "thread_order.h"

namespace tilewise::emulator {
namespace {

constexpr int kBarriers = 16;

// A lane's call. The vote becomes the block's.
struct Arrival {
  int id, threads;
  bool waits, reduces, vote;
};

// `threads` 0 is the whole block, none of which may have exited.
NamedBarrier& check(const Arrival& arrival) {
  const Block& running = block();
  const int id = arrival.id;
  int threads = arrival.threads;
  if (threads == 0) {
    threads = int(running.threads);
    if (running.alive != running.threads) fail("a barrier of the whole block after some threads have exited");
  }
  if (id < 0 || id >= kBarriers) fail("there is no barrier " + std::to_string(id));
  if (threads % int(kLanes) != 0 || threads > int(running.threads)) {
    fail("a barrier of " + std::to_string(threads) + " threads");
  }
  NamedBarrier& barrier = block().barriers[id];
  if (barrier.arrived > 0 && (barrier.expected != threads || barrier.reduces != arrival.reduces)) {
    fail("threads disagree on barrier " + std::to_string(id) + ", of " + std::to_string(barrier.expected) + " and " +
         std::to_string(threads) + " threads @" + sourceLine(self().where));
  }
  barrier.expected = threads;
  barrier.reduces = arrival.reduces;
  return barrier;
}

void open(NamedBarrier& barrier) {
  for (Thread* thread : barrier.waiting) {
    if (block().races.isEnabled()) thread->view.join(barrier.view);
    static_cast<Arrival*>(const_cast<void*>(thread->arguments))->vote = barrier.any;
    if (thread != &self()) makeReady(*thread);
  }
  barrier = NamedBarrier();
}

// The arrival of a whole warp. Returns whether it opened the barrier.
bool arriveTogether(Lanes<Arrival> lanes) {
  NamedBarrier& barrier = check(lanes[0]);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const Arrival& arrival = lanes[lane];
    if (arrival.id != lanes[0].id || arrival.threads != lanes[0].threads) {
      fail("lanes of one warp disagree on the barrier @" + sourceLine(lanes.thread(lane).where));
    }
    if (block().races.isEnabled()) release(lanes.thread(lane), barrier.view);
    barrier.any |= arrival.vote;
    if (arrival.waits) barrier.waiting.push_back(&lanes.thread(lane));
  }
  barrier.arrived += int(kLanes);
  if (barrier.arrived < barrier.expected) return false;
  open(barrier);
  return true;
}

// Returns the block's vote, in lanes that wait for it.
bool arrive(const char* operation, const void* where, Arrival arrival) {
  if (!isLastToMeet(operation, where, arrival)) return arrival.vote;
  const bool isOpen = arriveTogether(lanesThatMet<Arrival>());
  if (!arrival.waits) {
    partAgain();
    yieldSometimes();
  } else if (isOpen) {
    yieldIfSeeded();
  } else {
    suspend();
  }
  return arrival.vote;
}

}  // namespace

TW_OPERATION void barrierSync(int id, int threads) { arrive("bar.sync", TW_WHERE, {id, threads, true, false, false}); }

TW_OPERATION void barrierArrive(int id, int threads) {
  arrive("bar.arrive", TW_WHERE, {id, threads, false, false, false});
}

TW_OPERATION bool barrierOr(bool yes) { return arrive("bar.red.or", TW_WHERE, {0, 0, true, true, yes}); }

}  // namespace tilewise::emulator
