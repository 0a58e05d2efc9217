// Counts of arrivals and bytes, and who waits for them.
#include "mbarriers.h"

#include "block_memory.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kBytes = 8;
constexpr uint32_t kMaxCount = (1 << 20) - 1;  // of arrivals, and of bytes

}  // namespace

Mbarriers::Mbarrier& Mbarriers::at(uint32_t address, const Caller& caller) {
  const auto found = barriers_.find(address);
  if (found == barriers_.end()) memory_.fail("no mbarrier was initialised at shared " + std::to_string(address));
  Mbarrier& barrier = found->second;
  if (memory_.races.isEnabled() && barrier.creator != caller.thread &&
      barrier.created > caller.view->ordered[barrier.creator]) {
    memory_.fail("an mbarrier with no barrier of the block after its initialisation");
  }
  return barrier;
}

void Mbarriers::settle(Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.expectedBytes != 0) return;
  barrier.pending = barrier.count;
  ++barrier.phase;
  if (memory_.races.isEnabled()) barrier.done.join(barrier.arriving);
  // Who runs may be among them, where it lands a copy because nobody else can go on.
  for (const uint32_t waiter : barrier.waiting) memory_.wake(waiter);
  barrier.waiting.clear();
}

void Mbarriers::init(uint32_t address, uint32_t count, const Caller& caller) {
  if (address % kBytes != 0) memory_.fail("misaligned, an mbarrier at shared " + std::to_string(address));
  if (count < 1 || count > kMaxCount) memory_.fail("a count of " + std::to_string(count));
  if (!memory_.hasShared(address, kBytes)) memory_.fail(memory_.outsideText(address, kBytes));
  Mbarrier barrier;
  barrier.count = barrier.pending = count;
  barrier.creator = caller.thread;
  if (memory_.races.isEnabled()) {
    barrier.created = caller.view->ordered[caller.thread];
    barrier.arriving = barrier.done = memory_.races.freshView();
  }
  barriers_[address] = barrier;
}

void Mbarriers::fence(const Caller& caller) {
  for (auto& [address, barrier] : barriers_) {
    if (barrier.creator == caller.thread) barrier.isFenced = true;
  }
}

void Mbarriers::arrive(uint32_t address, uint32_t expectedBytes, const Caller& caller) {
  Mbarrier& barrier = at(address, caller);
  if (barrier.pending == 0) memory_.fail("more arrivals than this phase has");
  if (memory_.races.isEnabled()) caller.view->release(barrier.arriving, caller.thread);
  barrier.expectedBytes += expectedBytes;
  if (barrier.expectedBytes > kMaxCount) {
    memory_.fail(std::to_string(barrier.expectedBytes) + " bytes are more than an mbarrier counts");
  }
  --barrier.pending;
  settle(barrier);
}

bool Mbarriers::isOver(uint32_t address, uint32_t parity, const Caller& caller) {
  if (parity > 1) memory_.fail("a parity of " + std::to_string(parity));
  const Mbarrier& barrier = at(address, caller);
  if ((barrier.phase & 1) == parity) return false;
  if (memory_.races.isEnabled()) caller.view->join(barrier.done);
  return true;
}

void Mbarriers::requireFenced(uint32_t address, const Caller& caller) {
  const Mbarrier& barrier = at(address, caller);
  if (memory_.races.isEnabled() && !barrier.isFenced) {
    memory_.fail("signals an mbarrier whose initialisation was not fenced");
  }
}

void Mbarriers::land(uint32_t address, uint32_t bytes, uint32_t agent, uint32_t clock) {
  Mbarrier& barrier = barriers_.at(address);
  barrier.expectedBytes -= bytes;
  if (memory_.races.isEnabled()) barrier.arriving.complete(agent, clock);
  settle(barrier);
}

std::string Mbarriers::describe() const {
  std::string text;
  for (const auto& [address, barrier] : barriers_) {
    text += "\n  mbarrier " + std::to_string(address) + ": phase " + std::to_string(barrier.phase) + ", " +
            std::to_string(barrier.pending) + " of " + std::to_string(barrier.count) + " arrivals and " +
            std::to_string(barrier.expectedBytes) + " bytes missing";
  }
  return text;
}

}  // namespace tilewise::emulator
