// The backends that are called cuda, as the binding registers them after the CPU.
// Reader: the binding. Implemented over the driver (cuda/runtime), and over the emulator in the addon that tests build.
#pragma once

#include <vector>

#include "../core/op/backend.h"

namespace tilewise::cuda {

// One for each GPU: 'cuda', 'cuda:1', ... Where none can be used there is one all the same, which says why. Looks for
// the driver, which takes a while: ask once, and only when a GPU is wanted. They live as long as the process.
std::vector<Backend*> backends();

}  // namespace tilewise::cuda
