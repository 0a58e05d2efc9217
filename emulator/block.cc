// How a block finds the machine.
#include "block.h"

#include <algorithm>

#include "errors.h"
#include "scheduler.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kThreadsPerWarpgroup = kLanes * kWarpsPerGroup;

}  // namespace

Block::Block(const Grid& grid, const Options& launchOptions, const std::function<void()>& launchKernel)
    : BlockMemory(grid, launchOptions), kernel(launchKernel), registers(grid.threads) {
  count = grid.blocks;
  threads = grid.threads;
}

std::string Block::placeOf(const void* where) const { return sourceLine(where); }
std::string Block::onBehalf(const std::string& what) const { return withThread(what); }
void Block::fail(const std::string& what) const {
  emulator::fail(std::string(self().operation) + ": " + what + " @" + sourceLine(self().where));
}
void Block::wake(uint32_t waiter) { makeReady(threadStates[waiter]); }

void Block::reset(uint32_t blockIndex) {
  index = blockIndex;
  resetMemory(index);
  warps = std::vector<Warp>(threads / kLanes);
  warpgroups.clear();
  const uint32_t count = (threads + kThreadsPerWarpgroup - 1) / kThreadsPerWarpgroup;
  for (uint32_t i = 0; i < count; ++i) warpgroups.push_back({WarpgroupProducts(*this, i), {}});
  registers = RegisterPool(threads);
  std::fill(std::begin(barriers), std::end(barriers), NamedBarrier());
  alive = threads;
  readyWarps = 0;
  error = nullptr;
  threadStates = std::vector<Thread>(threads);
  for (uint32_t i = 0; i < threads; ++i) {
    Thread& thread = threadStates[i];
    thread.index = i;
    thread.warp = i / kLanes;
    thread.lane = i % kLanes;
    if (!options.races) continue;
    thread.view = races.freshView();
    thread.view.ordered[i] = 1;
  }
  for (Warp& warp : warps) warp.running = kAllLanes;
}

}  // namespace tilewise::emulator
