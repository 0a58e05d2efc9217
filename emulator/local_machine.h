// A Machine whose device is this process: its memory, and kernels that `find` knows, by whatever means they run. Queues
// do everything at once, except that downloads arrive with wait(): who forgets it reads poison. Reader:
// emulated_machine.cc, ptx/ptx_machine.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "../cuda/machine/machine.h"
#include "emulator.h"

namespace tilewise::emulator {

struct MachineOptions {
  // The least that kernels are to run on.
  cuda::Limits limits{80, 8, 99 * 1024};
  Options emulator;
  bool isExclusive = false;  // queues wait for each other: a launch may touch all of the memory
};

// A kernel as it was declared, and how to run it; `run` is empty where there is no such kernel.
struct LocalKernel {
  uint32_t threads = 0;
  size_t paramBytes = 0;
  std::function<void(const Grid& grid, const Options& options, const void* params)> run;
};
using FindKernel = std::function<LocalKernel(const std::string& module, const std::string& kernel)>;

std::unique_ptr<cuda::Machine> makeLocalMachine(const MachineOptions& options, FindKernel find);

}  // namespace tilewise::emulator
