// How a block finds the machine.
#include "block.h"

#include <algorithm>

#include "shared_memory.h"
#include "thread_order.h"

namespace tilewise::emulator {
namespace {

constexpr size_t kSharedAlignment = 1024;
constexpr uint32_t kThreadsPerWarpgroup = kLanes * kWarpsPerGroup;
constexpr uint32_t kHastes[] = {0, 256, 32, 4};  // of TMA loads, see TmaFlights

}  // namespace

Block::Block(const Grid& grid, const Options& launchOptions, const std::function<void()>& launchKernel)
    : options(launchOptions), kernel(launchKernel), sharedEnd(kSharedBase + grid.sharedBytes) {
  count = grid.blocks;
  threads = grid.threads;
  sharedStorage.resize(grid.sharedBytes + kSharedAlignment);
  const auto start = reinterpret_cast<uintptr_t>(sharedStorage.data());
  const uintptr_t aligned = (start + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment;
  sharedMemory = reinterpret_cast<uint8_t*>(aligned - kSharedBase);
}

void Block::reset(uint32_t blockIndex) {
  index = blockIndex;
  randomState_ = (options.seed + 1) * 0x9E3779B97F4A7C15ull ^ (uint64_t(index) + 1) * 0xD1B54A32D192ED03ull;
  if (randomState_ == 0) randomState_ = 1;
  std::fill(sharedStorage.begin(), sharedStorage.end(), kPoison);
  warps = std::vector<Warp>(threads / kLanes);
  warpgroups = std::vector<WarpgroupProducts>((threads + kThreadsPerWarpgroup - 1) / kThreadsPerWarpgroup);
  std::fill(std::begin(barriers), std::end(barriers), NamedBarrier());
  mbarriers.clear();
  flights.reset(kHastes[random() % 4]);
  tmaClocks = TmaClocks();
  if (options.races) {
    races.enable(threads, uint32_t(warpgroups.size()), sharedEnd, threadReporter());
  }
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

uint64_t Block::random() {
  randomState_ ^= randomState_ << 13;
  randomState_ ^= randomState_ >> 7;
  randomState_ ^= randomState_ << 17;
  return randomState_;
}

}  // namespace tilewise::emulator
