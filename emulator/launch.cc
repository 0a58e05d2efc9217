// A launch on emulated threads: what its blocks found, added up.
#include <mutex>

#include "block.h"
#include "blocks.h"
#include "scheduler.h"

namespace tilewise::emulator {
namespace {

Stats& operator+=(Stats& sum, const Stats& other) {
  sum.switches += other.switches;
  sum.products += other.products;
  sum.matrixLoads += other.matrixLoads;
  sum.matrixLoadConflicts += other.matrixLoadConflicts;
  sum.warpgroupProducts += other.warpgroupProducts;
  sum.tmaBytes += other.tmaBytes;
  return sum;
}

}  // namespace

Stats launch(const Grid& grid, const Options& options, const std::function<void()>& thread) {
  std::mutex mutex;
  Stats sum;
  runBlocks(grid, options, [&](BlockOrder& blocks) {
    Block state(grid, options, thread);
    const Stacks stacks(grid.threads);
    for (uint32_t i; blocks.take(i);) {
      state.reset(i);
      runBlock(state, stacks);
    }
    const std::lock_guard<std::mutex> lock(mutex);
    sum += state.stats;
  });
  return sum;
}

}  // namespace tilewise::emulator
