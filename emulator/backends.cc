// cuda/backends.h with the emulated GPU in the driver's place: what the addon that tests load is built with, and the
// C++ checks of the kernels. TILEWISE_EMULATOR chooses the schedule, in the words of emulator.h; read here and nowhere
// else.
#include "../cuda/backends.h"

#include <cstdlib>

#include "../cuda/backend.h"
#include "emulated_machine.h"

namespace tilewise::cuda {

std::vector<Backend*> backends() {
  emulator::MachineOptions options;
  const char* schedule = std::getenv("TILEWISE_EMULATOR");
  options.emulator = emulator::parseOptions(schedule ? schedule : "");
  // They outlive every thread.
  static Backend* const gpu = new cuda::GpuBackend("cuda", *emulator::makeMachine(options).release(), "emulated GPU");
  return {gpu};
}

}  // namespace tilewise::cuda
