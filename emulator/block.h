// The state of one block that runs: threads, warps, and what each family of operations keeps for them.
// Reader: whoever changes an operation. Only the worker that runs the block touches any of it.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async_copies.h"
#include "barrier.h"
#include "block_memory.h"
#include "emulator.h"
#include "fiber.h"
#include "operations.h"
#include "register_pool.h"
#include "wgmma.h"

namespace tilewise::emulator {

constexpr uint32_t kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffff;

// What a switch touches comes first and fits in a cache line.
struct alignas(64) Thread : ThreadView {
  Fiber fiber;
  const void* arguments = nullptr;  // of the rendezvous it waits in, on its own stack
  const char* operation = "start";  // for messages: what it does, and from where
  const void* where = nullptr;
  bool hasExited = false;

  View view;
  AsyncCopies copies;
  TmaStores stores;
};

struct Warp {
  uint32_t ready = 0;    // lanes that may run
  uint32_t running = 0;  // lanes that have not exited
  uint32_t arrived = 0;  // lanes that wait in the rendezvous
  const char* operation = nullptr;
  RegistersInFlight inFlight;
};

struct Block : BlockView, BlockMemory {
  Block(const Grid& grid, const Options& options, const std::function<void()>& kernel);
  void reset(uint32_t index);  // as a block finds the machine

  // On behalf of the running thread. Waiters are threads.
  std::string placeOf(const void* where) const override;
  std::string onBehalf(const std::string& what) const override;
  [[noreturn]] void fail(const std::string& what) const override;
  void wake(uint32_t waiter) override;

  const std::function<void()>& kernel;

  std::vector<Thread> threadStates;
  std::vector<Warp> warps;
  std::deque<Warpgroup> warpgroups;
  RegisterPool registers;
  uint32_t alive = 0;       // threads that have not exited
  uint32_t readyWarps = 0;  // warps with a lane that may run
  Fiber worker;             // where it was started
  std::exception_ptr error;

  NamedBarrier barriers[16];
  Stats stats;
};

inline Block& block() { return *static_cast<Block*>(currentBlock); }
inline Thread& self() { return *static_cast<Thread*>(currentThread); }
inline Warp& warpOf(const Thread& thread) { return block().warps[thread.warp]; }

}  // namespace tilewise::emulator
