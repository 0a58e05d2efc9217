// A block that runs: its warps, shared memory and barriers.
// Reader: whoever writes what an opcode does. Only the worker that runs the block touches any of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../async_copies.h"
#include "../block_memory.h"
#include "../global_memory.h"
#include "../register_pool.h"
#include "kernel.h"
#include "warpgroups.h"

namespace tilewise::ptx {

using emulator::Access;

struct Block;

// Lanes that go the same way: until they come to `join`, where those below on the stack wait for them.
struct Path {
  int32_t next, join;  // instructions; -1: the end
  uint32_t lanes;
};

struct Warp {
  uint8_t* registers = nullptr;
  uint32_t mask = 0;  // lanes that execute the instruction
  uint32_t alive = kAllLanes;  // lanes that have not left the kernel
  uint32_t index = 0;
  bool isWaiting = false;  // in a barrier of the block, or in an mbarrier
  Block* block = nullptr;
  const Instruction* instruction = nullptr;  // that runs, or ran last
  std::vector<Path> paths;
  uint64_t steps = 0;
  emulator::Memory::Allocation remembered;  // the one that was used last
  std::unique_ptr<BusyRegisters> busy;      // null where no instruction leaves any

  bool isDone() const { return paths.empty(); }
};

struct Thread {
  emulator::View view;
  emulator::AsyncCopies copies;
  emulator::TmaStores stores;
};

struct Barrier {
  uint32_t arrived = 0, expected = 0;  // threads, in this phase
  bool reduces = false, any = false;
  std::vector<Warp*> waiting;
  emulator::View view;  // of those that arrived
};

struct Block : emulator::BlockMemory {
  Block(const Kernel& kernel, const emulator::Grid& grid, const emulator::Options& options, const void* params);
  void run(uint32_t index);

  std::string placeOf(const void* where) const override;
  std::string onBehalf(const std::string& what) const override;
  [[noreturn]] void fail(const std::string& what) const override { throw emulator::Error(onBehalf(what)); }
  void wake(uint32_t warp) override { warps[warp].isWaiting = false; }

  uint32_t threadOf(const Warp& warp, uint32_t lane) const { return warp.index * kLanes + lane; }

  const Kernel& kernel;
  const emulator::Grid grid;
  const uint8_t* const params;
  uint32_t index = 0;

  std::vector<Warp> warps;
  std::vector<Thread> threads;
  Barrier barriers[16];
  std::map<uint32_t, Warpgroup> warpgroups;
  emulator::RegisterPool registers;

  // Whose access is checked.
  const Warp* checkedWarp = nullptr;
  uint32_t checkedLane = 0;

 private:
  void reset(uint32_t index);
  void fillRegisters(Warp& warp) const;
  Warp* pickReady();
  bool isOver() const;
  void requireLanded() const;
  [[noreturn]] void failDeadlocked() const;

  std::vector<uint8_t> registerStorage_;
};

// Until the warp has to wait, is to give way to others, or has left the kernel.
void runWarp(Warp& warp);

// The message, after the name of a lane and of the instruction that runs; of its warp, where `lane` is kLanes.
std::string withLane(const Warp& warp, uint32_t lane, const std::string& what);

// Throws it as an Error.
[[noreturn]] void fail(const Warp& warp, uint32_t lane, const std::string& what);
[[noreturn]] inline void fail(const Warp& warp, const std::string& what) { fail(warp, kLanes, what); }

}  // namespace tilewise::ptx
