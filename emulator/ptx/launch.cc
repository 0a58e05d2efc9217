// A launch: workers run the blocks of a kernel.
#include <cstdlib>
#include <fstream>

#include "../blocks.h"
#include "block.h"

namespace tilewise::ptx {
namespace {

// Appends a line for each instruction that this launch has come to: the kernel, and the line of the text.
void noteReached(const Kernel& kernel, const char* file) {
  std::ofstream lines(file, std::ios::app);
  for (size_t i = 0; i < kernel.code.size(); ++i) {
    if (kernel.isReached[i].exchange(false)) lines << kernel.name << ' ' << kernel.code[i].line << '\n';
  }
}

}  // namespace

const char* reachedFile() { return std::getenv("TILEWISE_PTX_REACHED"); }

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
  if (kernel.isReached) noteReached(kernel, reachedFile());
}

}  // namespace tilewise::ptx
