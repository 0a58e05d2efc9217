// Fibers: a stack each, and a switch that saves what a function call must preserve and nothing else. The system's own
// switch (ucontext) saves the signal mask too, a system call that would make the emulator several times slower.
// Reader: the scheduler.
#pragma once

#include <cstddef>
#include <cstdint>

// Saves the running fiber's stack pointer in *save and continues at the other's.
extern "C" void tilewiseSwitchStacks(void** save, void* to);

namespace tilewise::emulator {

// The stacks of a block's threads, each above a page that faults. Pooled: a launch takes some per worker.
class Stacks {
 public:
  explicit Stacks(uint32_t count);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  // A stack that continues in `entry`, which must never return.
  void* prepare(uint32_t index, void (*entry)()) const;

 private:
  size_t bytes_;
  uint8_t* base_;
};

}  // namespace tilewise::emulator
