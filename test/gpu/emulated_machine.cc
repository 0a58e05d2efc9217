// The emulated GPU; TILEWISE_EMULATOR chooses its schedule, in the words of test/emulator/emulator.h.
#include <cstdlib>

#include "../../cuda/backend.h"
#include "../emulator/machine.h"
#include "machines.h"

namespace tilewise::gpu {

Backend& machineBackend() {
  static Backend& backend = []() -> Backend& {
    emulator::MachineOptions options;
    const char* schedule = std::getenv("TILEWISE_EMULATOR");
    options.emulator = emulator::parseOptions(schedule ? schedule : "");
    return *new GpuBackend("cuda", *emulator::makeMachine(options).release());
  }();
  return backend;
}

}  // namespace tilewise::gpu
