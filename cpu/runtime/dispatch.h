// Which instruction set runs. Reader: the backend and the tests that force one.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace tilewise::cpu {

// Tables this build contains and this processor can run, best first.
const std::vector<const Kernels*>& availableKernels();

const Kernels& activeKernels();
bool activateKernels(const std::string& name);  // false: not available

}  // namespace tilewise::cpu
