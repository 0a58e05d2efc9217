// cuda/backends.h with a machine of this folder in the driver's place: what the addon that tests load is built with,
// and the C++ checks of the kernels. TILEWISE_EMULATOR chooses it: see machines.h.
#include "../cuda/backends.h"

#include "../cuda/backend.h"
#include "machines.h"

namespace tilewise::cuda {

std::vector<Backend*> backends() {
  static Backend* const gpu = [] {
    emulator::ChosenMachine chosen = emulator::chooseMachine();
    // They outlive every thread.
    return new GpuBackend("cuda", *chosen.machine.release(), chosen.name);
  }();
  return {gpu};
}

}  // namespace tilewise::cuda
