// One of a block's sixteen barriers. Reader: block.h, barrier.cc.
#pragma once

#include <vector>

#include "races.h"

namespace tilewise::emulator {

struct Thread;

struct NamedBarrier {
  int expected = 0, arrived = 0;  // threads, in this phase
  bool reduces = false, any = false;
  std::vector<Thread*> waiting;
  View view;  // of those that arrived
};

}  // namespace tilewise::emulator
