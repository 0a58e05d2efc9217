// Workers take blocks from one counter.
#include "blocks.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <thread>

namespace tilewise::emulator {
namespace {

constexpr uint32_t kWarpThreads = 32;
constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kMaxSharedBytes = 227 * 1024;

void check(const Grid& grid) {
  if (grid.blocks == 0 || grid.blocks > 0x7fffffff) {
    throw Error("launch: a grid of " + std::to_string(grid.blocks) + " blocks");
  }
  if (grid.threads == 0 || grid.threads > kMaxThreads || grid.threads % kWarpThreads != 0) {
    throw Error("launch: blocks of " + std::to_string(grid.threads) +
                " threads; whole warps up to 1024 can be emulated");
  }
  if (grid.sharedBytes > kMaxSharedBytes) {
    throw Error("launch: " + std::to_string(grid.sharedBytes) + " bytes of shared memory");
  }
}

}  // namespace

BlockOrder::BlockOrder(const Grid& grid, const Options& options) : order_(grid.blocks) {
  std::iota(order_.begin(), order_.end(), 0u);
  if (options.seed != 0) std::shuffle(order_.begin(), order_.end(), std::mt19937_64(options.seed));
}

bool BlockOrder::take(uint32_t& block) {
  const uint32_t i = isStopped_ ? uint32_t(order_.size()) : next_++;
  if (i >= order_.size()) return false;
  block = order_[i];
  return true;
}

void runBlocks(const Grid& grid, const Options& options, const std::function<void(BlockOrder& blocks)>& work) {
  check(grid);
  BlockOrder blocks(grid, options);
  std::mutex mutex;
  std::exception_ptr error;
  const auto guarded = [&] {
    try {
      work(blocks);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
      blocks.stop();
    }
  };
  const int cores = std::max(1, int(std::thread::hardware_concurrency()));
  const auto wanted = uint32_t(options.workers > 0 ? options.workers : cores);
  std::vector<std::thread> others;
  for (uint32_t i = 1; i < std::min(wanted, grid.blocks); ++i) others.emplace_back(guarded);
  guarded();
  for (std::thread& other : others) other.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace tilewise::emulator
