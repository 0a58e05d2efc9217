// The kernels of PTX files, for a Machine: what plans launches runs what nvcc made, without a GPU.
// Reader: ../machines.cc.
#pragma once

#include <string>

#include "../local_machine.h"

namespace tilewise::ptx {

// `folder`: <module>.ptx of each module, as builds leave them in kernel-ptx/. Modules are read when they are first
// used.
emulator::FindKernel kernelsOf(const std::string& folder);

}  // namespace tilewise::ptx
