// A launch: workers run the blocks of a kernel.
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <unordered_map>

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

// What the blocks of a launch write in global memory: nothing orders two of them, so no two may write the same place.
class Writers {
 public:
  void add(const Block& block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [place, write] : block.races.writesOfGlobal()) {
      const auto [writer, isFirst] = blocks_.try_emplace(place, block.index);
      if (isFirst) continue;
      throw emulator::Error("block " + std::to_string(block.index) + " thread " + std::to_string(write.agent) +
                            ": race, blocks " + std::to_string(writer->second) + " and " + std::to_string(block.index) +
                            " both write at global " + std::to_string(2 * place) + ": " + write.operation + " @" +
                            block.placeOf(write.where));
    }
  }

 private:
  std::mutex mutex_;
  std::unordered_map<uint64_t, uint32_t> blocks_;  // by place, as in races.h
};

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
  Writers writers;
  emulator::runBlocks(grid, options, [&](emulator::BlockOrder& blocks) {
    Block block(kernel, grid, options, params);
    for (uint32_t i; blocks.take(i);) {
      block.run(i);
      writers.add(block);
    }
  });
  if (kernel.isReached) noteReached(kernel, reachedFile());
}

}  // namespace tilewise::ptx
