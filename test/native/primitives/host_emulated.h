// Launches on the emulator. Reader: host.h.
#pragma once

#include "../../../emulator/emulator.h"

namespace tilewise::cuda::conformance {

emulator::Options& emulatorOptions();

template <class Params>
void launch(void (*kernel)(Params), const Grid& grid, const Params& params) {
  emulator::launch({grid.blocks, grid.threads, grid.sharedBytes}, emulatorOptions(), [&] { kernel(params); });
}

}  // namespace tilewise::cuda::conformance
