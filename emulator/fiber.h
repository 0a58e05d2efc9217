// Fibers: a stack each, and a switch that saves what a function call must preserve and nothing else. The system's own
// switch (ucontext) saves the signal mask too, a system call that would make the emulator several times slower.
// Reader: the scheduler.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the running fiber's stack pointer in *save and continues at the other's.
extern "C" void tilewiseSwitchStacks(void** save, void* to);

namespace tilewise::emulator {

// Where one that does not run continues. The address sanitizer has to be told of every change of stacks.
struct Fiber {
  void* stackPointer = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  const void* stack = nullptr;
  size_t stackBytes = 0;
  void* fakeStack = nullptr;
#endif
};

// Continues in `to`; returns when another continues in `from`.
inline void switchFibers(Fiber& from, const Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.fakeStack, to.stack, to.stackBytes);
#endif
  tilewiseSwitchStacks(&from.stackPointer, to.stackPointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fakeStack, nullptr, nullptr);
#endif
}

// The first thing that a fiber's entry does.
inline void beginFiber() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

// The thread that calls this, as a fiber to return to.
Fiber callersFiber();

// The stacks of a block's threads, each above a page that faults. Pooled: a launch takes some per worker.
class Stacks {
 public:
  explicit Stacks(uint32_t count);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  // A fiber that starts in `entry`, which must never return.
  Fiber prepare(uint32_t index, void (*entry)()) const;

 private:
  size_t bytes_;
  uint8_t* base_;
};

}  // namespace tilewise::emulator
