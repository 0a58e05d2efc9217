// How a block finds its shared memory, and the chances of a seeded schedule.
#include "block_memory.h"

#include <algorithm>

namespace tilewise::emulator {
namespace {

constexpr size_t kAlignment = 1024;
constexpr uint32_t kThreadsPerWarpgroup = 128;

}  // namespace

BlockMemory::BlockMemory(const Grid& grid, const Options& itsOptions)
    : options(itsOptions),
      sharedEnd(kSharedBase + grid.sharedBytes),
      threads_(grid.threads),
      storage_(grid.sharedBytes + kAlignment) {
  const auto start = reinterpret_cast<uintptr_t>(storage_.data());
  sharedMemory = storage_.data() + (kAlignment - start % kAlignment) % kAlignment - kSharedBase;
}

void BlockMemory::resetMemory(uint32_t index) {
  randomState_ = (options.seed + 1) * 0x9E3779B97F4A7C15ull ^ (uint64_t(index) + 1) * 0xD1B54A32D192ED03ull;
  if (randomState_ == 0) randomState_ = 1;
  std::fill(storage_.begin(), storage_.end(), kPoison);
  mbarriers.clear();
  tma.reset();
  if (options.races) {
    races.enable(threads_, (threads_ + kThreadsPerWarpgroup - 1) / kThreadsPerWarpgroup, sharedEnd, *this);
  }
}

std::string BlockMemory::outsideText(uint32_t address, uint32_t bytes) const {
  return std::to_string(bytes) + " bytes at shared address " + std::to_string(address) + " are outside the block's " +
         std::to_string(sharedEnd - kSharedBase) + " from " + std::to_string(kSharedBase);
}

void BlockMemory::fenceProxy(const Caller& caller) {
  mbarriers.fence(caller);
  if (races.isEnabled()) caller.view->fenced[caller.thread] = caller.view->ordered[caller.thread]++;
}

uint64_t BlockMemory::random() {
  randomState_ ^= randomState_ << 13;
  randomState_ ^= randomState_ >> 7;
  randomState_ ^= randomState_ << 17;
  return randomState_;
}

bool BlockMemory::chance(uint32_t outOf) { return options.seed != 0 && random() % outOf == 0; }

}  // namespace tilewise::emulator
