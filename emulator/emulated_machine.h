// The emulated GPU as a Machine: what plans launches runs on it unchanged.
// Reader: tests, and the addon that tests load in place of the published one.
#pragma once

#include "local_machine.h"

namespace tilewise::emulator {

std::unique_ptr<cuda::Machine> makeMachine(const MachineOptions& options = {});
LocalKernel findEmulated(const std::string& module, const std::string& name);

}  // namespace tilewise::emulator
