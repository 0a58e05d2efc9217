// A launch: workers run the blocks of a kernel.
#include "../blocks.h"
#include "block.h"

namespace tilewise::ptx {

void Module::launch(const std::string& name, const emulator::Grid& grid, const emulator::Options& options,
                    const void* params) const {
  const Kernel& kernel = read(name);
  const uint32_t most = kernel.declaration.threads;
  if (most != 0 && grid.threads > most) {
    throw emulator::Error("launched with " + std::to_string(grid.threads) + " threads, declared with " +
                          std::to_string(most));
  }
  emulator::runBlocks(grid, options, [&](emulator::BlockOrder& blocks) {
    Block block(kernel, grid, options, params);
    for (uint32_t i; blocks.take(i);) block.run(i);
  });
}

}  // namespace tilewise::ptx
