// The emulated GPU as a Machine: what plans launches runs on it unchanged. Queues do everything at once, except that
// downloads arrive with wait(): who forgets it reads poison.
// Reader: tests, and the addon that tests load in place of the published one.
#pragma once

#include <memory>

#include "../cuda/machine/machine.h"
#include "emulator.h"

namespace tilewise::emulator {

struct MachineOptions {
  // The least that kernels are to run on.
  cuda::Limits limits{80, 8, 99 * 1024};
  Options emulator;
};

std::unique_ptr<cuda::Machine> makeMachine(const MachineOptions& options = {});

}  // namespace tilewise::emulator
