// Launches: blocks handed out to workers, and what they found added up.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

#include "block.h"
#include "scheduler.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kMaxSharedBytes = 227 * 1024;

void check(const Grid& grid) {
  if (grid.blocks == 0 || grid.blocks > 0x7fffffff) {
    throw Error("launch: a grid of " + std::to_string(grid.blocks) + " blocks");
  }
  if (grid.threads == 0 || grid.threads > kMaxThreads || grid.threads % kLanes != 0) {
    throw Error("launch: blocks of " + std::to_string(grid.threads) +
                " threads; whole warps up to 1024 can be emulated");
  }
  if (grid.sharedBytes > kMaxSharedBytes) {
    throw Error("launch: " + std::to_string(grid.sharedBytes) + " bytes of shared memory");
  }
}

Stats& operator+=(Stats& sum, const Stats& other) {
  sum.switches += other.switches;
  sum.products += other.products;
  sum.matrixLoads += other.matrixLoads;
  sum.matrixLoadConflicts += other.matrixLoadConflicts;
  sum.warpgroupProducts += other.warpgroupProducts;
  sum.tmaBytes += other.tmaBytes;
  return sum;
}

// Blocks in the order in which they start.
std::vector<uint32_t> orderOf(const Grid& grid, const Options& options) {
  std::vector<uint32_t> order(grid.blocks);
  std::iota(order.begin(), order.end(), 0u);
  if (options.seed != 0) std::shuffle(order.begin(), order.end(), std::mt19937_64(options.seed));
  return order;
}

class Run {
 public:
  Run(const Grid& grid, const Options& options, const std::function<void()>& kernel)
      : grid_(grid), options_(options), kernel_(kernel), order_(orderOf(grid, options)) {}

  Stats run() {
    const int cores = std::max(1, int(std::thread::hardware_concurrency()));
    const auto wanted = uint32_t(options_.workers > 0 ? options_.workers : cores);
    std::vector<std::thread> others;
    for (uint32_t i = 1; i < std::min(wanted, grid_.blocks); ++i) others.emplace_back([this] { work(); });
    work();
    for (std::thread& other : others) other.join();
    if (error_) std::rethrow_exception(error_);
    return stats_;
  }

 private:
  void work() {
    Stats found;
    try {
      Block state(grid_, options_, kernel_);
      const Stacks stacks(grid_.threads);
      for (uint32_t i; (i = next_++) < grid_.blocks && !isStopped_;) {
        state.reset(order_[i]);
        runBlock(state, stacks);
      }
      found = state.stats;
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
      isStopped_ = true;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_ += found;
  }

  const Grid& grid_;
  const Options& options_;
  const std::function<void()>& kernel_;
  const std::vector<uint32_t> order_;
  std::atomic<uint32_t> next_{0};
  std::atomic<bool> isStopped_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
  Stats stats_;
};

}  // namespace

Stats launch(const Grid& grid, const Options& options, const std::function<void()>& thread) {
  check(grid);
  return Run(grid, options, thread).run();
}

}  // namespace tilewise::emulator
