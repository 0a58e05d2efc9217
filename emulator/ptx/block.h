// A block that runs: its warps, shared memory and barriers.
// Reader: whoever writes what an opcode does. Only the worker that runs the block touches any of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../access.h"
#include "../async_copies.h"
#include "../emulator.h"
#include "../global_memory.h"
#include "../races.h"
#include "kernel.h"

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
  bool isWaiting = false;  // in a barrier of the block
  Block* block = nullptr;
  const Instruction* instruction = nullptr;  // that runs, or ran last
  std::vector<Path> paths;
  uint64_t steps = 0;
  emulator::Memory::Allocation remembered;  // the one that was used last

  bool isDone() const { return paths.empty(); }
};

struct Thread {
  emulator::View view;
  emulator::AsyncCopies copies;
};

struct Barrier {
  uint32_t arrived = 0, expected = 0;  // threads, in this phase
  bool reduces = false, any = false;
  std::vector<Warp*> waiting;
  emulator::View view;  // of those that arrived
};

struct Block : emulator::Reporter {
  Block(const Kernel& kernel, const emulator::Grid& grid, const emulator::Options& options, const void* params);
  void run(uint32_t index);

  std::string placeOf(const void* where) const override;
  std::string onBehalf(const std::string& what) const override;

  uint32_t threadOf(const Warp& warp, uint32_t lane) const { return warp.index * kLanes + lane; }
  bool chance(uint32_t outOf);  // always false unless the schedule is seeded

  const Kernel& kernel;
  const emulator::Grid grid;
  const emulator::Options& options;
  const uint8_t* const params;
  uint32_t index = 0;

  std::vector<Warp> warps;
  std::vector<Thread> threads;
  Barrier barriers[16];
  emulator::RaceChecker races;
  uint8_t* shared = nullptr;  // indexed by shared address
  uint32_t sharedEnd;

  // Whose access is checked for races.
  const Warp* checkedWarp = nullptr;
  uint32_t checkedLane = 0;

 private:
  void reset(uint32_t index);
  void fillRegisters(Warp& warp) const;
  uint64_t random();
  Warp* pickReady();
  [[noreturn]] void failDeadlocked() const;

  std::vector<uint8_t> sharedStorage_, registerStorage_;
  uint64_t randomState_ = 1;
};

// Until the warp has to wait, is to give way to others, or has left the kernel.
void runWarp(Warp& warp);

// The message, after the name of a lane and of the instruction that runs; of its warp, where `lane` is kLanes.
std::string withLane(const Warp& warp, uint32_t lane, const std::string& what);

// Throws it as an Error.
[[noreturn]] void fail(const Warp& warp, uint32_t lane, const std::string& what);
[[noreturn]] inline void fail(const Warp& warp, const std::string& what) { fail(warp, kLanes, what); }

}  // namespace tilewise::ptx
