// mbarrier: phases that end when all arrivals have come and all expected bytes have landed.
#include "mbarrier.h"

#include "block.h"
#include "errors.h"
#include "scheduler.h"
#include "shared_memory.h"
#include "thread_order.h"

namespace tilewise::emulator {

Mbarrier& mbarrierAt(uint32_t address) {
  const auto found = block().mbarriers.find(address);
  if (found == block().mbarriers.end()) fail("mbarrier: none was initialised at shared " + std::to_string(address));
  Mbarrier& barrier = found->second;
  const Thread& thread = self();
  if (block().races.isEnabled() && barrier.creator != thread.index &&
      barrier.created > thread.view.ordered[barrier.creator]) {
    fail("mbarrier: used with no barrier of the block after its initialisation");
  }
  return barrier;
}

void settle(Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.expectedBytes != 0) return;
  barrier.pending = barrier.count;
  ++barrier.phase;
  if (block().races.isEnabled()) barrier.done.join(barrier.arriving);
  // The running thread may be among them: it waits, and lands a copy because nobody else can go on.
  for (const Thread* thread : barrier.waiting) makeReady(*thread);
  barrier.waiting.clear();
}

void mbarrierInit(uint32_t address, int count) {
  if (address % 8 != 0) fail("mbarrier.init: misaligned");
  if (count < 1) fail("mbarrier.init: a count of " + std::to_string(count));
  sharedBytes(address, 8, "mbarrier.init");
  Mbarrier barrier;
  barrier.count = barrier.pending = uint32_t(count);
  barrier.creator = self().index;
  if (block().races.isEnabled()) {
    barrier.created = self().view.ordered[self().index];
    barrier.arriving = barrier.done = block().races.freshView();
  }
  block().mbarriers[address] = barrier;
}

TW_OPERATION void mbarrierArrive(uint32_t address, uint32_t expectedBytes) {
  self().operation = "mbarrier.arrive";
  self().where = TW_WHERE;
  Mbarrier& barrier = mbarrierAt(address);
  if (barrier.pending == 0) fail("mbarrier.arrive: more arrivals than this phase has @" + sourceLine(TW_WHERE));
  if (block().races.isEnabled()) release(barrier.arriving);
  barrier.expectedBytes += expectedBytes;
  --barrier.pending;
  settle(barrier);
  yieldSometimes();
}

TW_OPERATION void mbarrierWait(uint32_t address, uint32_t parity) {
  self().operation = "mbarrier.wait";
  self().where = TW_WHERE;
  Mbarrier& barrier = mbarrierAt(address);
  while ((barrier.phase & 1) == parity) {
    barrier.waiting.push_back(&self());
    suspend();
  }
  if (block().races.isEnabled()) acquire(barrier.done);
  yieldSometimes();
}

void fenceMbarrierInit() {
  for (auto& [address, barrier] : block().mbarriers) {
    if (barrier.creator == self().index) barrier.isFenced = true;
  }
}

void fenceProxyAsync() {
  fenceMbarrierInit();
  if (!block().races.isEnabled()) return;
  View& view = self().view;
  view.fenced[self().index] = view.ordered[self().index]++;
}

}  // namespace tilewise::emulator
