// The state of one block that runs: threads, warps, and what each family of operations keeps for them.
// Reader: whoever changes an operation. Only the worker that runs the block touches any of it.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async_copies.h"
#include "barrier.h"
#include "emulator.h"
#include "fiber.h"
#include "mbarrier.h"
#include "operations.h"
#include "races.h"
#include "tma.h"
#include "wgmma.h"

namespace tilewise::emulator {

constexpr uint32_t kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffff;
constexpr uint32_t kWarpsPerGroup = 4;

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
  WarpProducts products;
};

struct Block : BlockView {
  Block(const Grid& grid, const Options& options, const std::function<void()>& kernel);
  void reset(uint32_t index);  // as a block finds the machine

  const Options& options;
  const std::function<void()>& kernel;

  std::vector<Thread> threadStates;
  std::vector<Warp> warps;
  std::vector<WarpgroupProducts> warpgroups;
  uint32_t alive = 0;       // threads that have not exited
  uint32_t readyWarps = 0;  // warps with a lane that may run
  Fiber worker;             // where it was started
  std::exception_ptr error;

  // Shared memory, poisoned; indexed by shared address.
  uint32_t sharedEnd;
  uint8_t* sharedMemory;
  std::vector<uint8_t> sharedStorage;

  NamedBarrier barriers[16];
  std::map<uint32_t, Mbarrier> mbarriers;
  TmaFlights flights;
  TmaClocks tmaClocks;
  RaceChecker races;
  Stats stats;

  uint64_t random();
  bool chance(uint32_t outOf) { return random() % outOf == 0; }

 private:
  uint64_t randomState_ = 1;
};

inline Block& block() { return *static_cast<Block*>(currentBlock); }
inline Thread& self() { return *static_cast<Thread*>(currentThread); }
inline Warp& warpOf(const Thread& thread) { return block().warps[thread.warp]; }

}  // namespace tilewise::emulator
