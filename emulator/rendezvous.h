// Warp-synchronous operations: all lanes meet, and the last to come executes for all of them.
// Reader: whoever writes one.
#pragma once

#include <string>

#include "block.h"
#include "errors.h"
#include "scheduler.h"

namespace tilewise::emulator {

// The arguments of a warp's lanes, each on its own lane's stack.
template <class Arguments>
class Lanes {
 public:
  explicit Lanes(Thread* first) : first_(first) {}
  Arguments& operator[](uint32_t lane) const {
    return *static_cast<Arguments*>(const_cast<void*>(first_[lane].arguments));
  }
  Thread& thread(uint32_t lane) const { return first_[lane]; }

 private:
  Thread* first_;
};

// Stops a lane until the warp's others have come. True in the last one, which acts for all of them and makes the others
// ready; they return false. The operation is known by its literal, never by its call: a compiler may copy a call for
// each side of a branch.
template <class Arguments>
inline __attribute__((always_inline)) bool isLastToMeet(const char* operation, const void* where,
                                                        Arguments& arguments) {
  Thread& thread = self();
  Warp& warp = warpOf(thread);
  thread.arguments = &arguments;
  thread.operation = operation;
  thread.where = where;
  if (warp.arrived == 0) {
    warp.operation = operation;
    if (warp.running != kAllLanes) fail(std::string(operation) + ": some lanes of the warp have exited");
  } else if (warp.operation != operation) {
    fail(std::string("lanes of one warp diverged: ") + warp.operation + " and " + operation + " @" + sourceLine(where));
  }
  warp.arrived |= 1u << thread.lane;
  if (warp.arrived != kAllLanes) {
    suspend();
    return false;
  }
  warp.arrived = 0;
  return true;
}

// The arguments of all lanes that met; the running one is the last.
template <class Arguments>
Lanes<Arguments> lanesThatMet() {
  return Lanes<Arguments>(&block().threadStates[self().warp * kLanes]);
}

// Makes all lanes ready but the running one.
inline void partAgain() {
  Thread& thread = self();
  warpOf(thread).ready |= kAllLanes & ~(1u << thread.lane);
  block().readyWarps |= 1u << thread.warp;
}

// `execute(warp, lanes)` runs once, when all lanes have come.
template <class Arguments, class Execute>
inline __attribute__((always_inline)) void rendezvous(const char* operation, const void* where, Arguments& arguments,
                                                      Execute execute) {
  if (!isLastToMeet(operation, where, arguments)) return;
  execute(warpOf(self()), lanesThatMet<Arguments>());
  partAgain();
  yieldIfSeeded();
}

// For operations whose lanes have nothing to say but that they have come.
struct NoArguments {};

}  // namespace tilewise::emulator
