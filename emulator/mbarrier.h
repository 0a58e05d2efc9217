// A barrier in shared memory. Reader: block.h, mbarrier.cc, tma.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "races.h"

namespace tilewise::emulator {

struct Thread;

struct Mbarrier {
  uint32_t count = 0;
  uint32_t pending = 0;  // arrivals
  uint32_t phase = 0;
  int64_t expectedBytes = 0;
  std::vector<Thread*> waiting;
  // What initialised it, and whether that was fenced for TMA.
  uint32_t creator = 0, created = 0;
  bool isFenced = false;
  View arriving, done;  // of this phase, of the phases before
};

// Fails where there is none, or the running thread need not see it yet.
Mbarrier& mbarrierAt(uint32_t address);
void settle(Mbarrier& barrier);  // ends the phase if nothing is missing any more

}  // namespace tilewise::emulator
