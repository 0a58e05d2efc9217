// The blocks of a launch, handed out to workers, one per core: blocks are independent, in whatever order they run.
// Reader: whoever launches kernels, on either machine of this folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "emulator.h"

namespace tilewise::emulator {

// Blocks in the order in which they start.
class BlockOrder {
 public:
  BlockOrder(const Grid& grid, const Options& options);

  // The next block that no worker has; false when there is none, or a worker has failed.
  bool take(uint32_t& block);
  void stop() { isStopped_ = true; }

 private:
  std::vector<uint32_t> order_;
  std::atomic<uint32_t> next_{0};
  std::atomic<bool> isStopped_{false};
};

// Runs `work` on each worker until it returns; what the first to fail has thrown is thrown again. Checks the grid
// first.
void runBlocks(const Grid& grid, const Options& options, const std::function<void(BlockOrder& blocks)>& work);

}  // namespace tilewise::emulator
