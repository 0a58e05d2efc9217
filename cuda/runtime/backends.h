// backends() of ../backends.h with kernel images from a folder of one's own.
// Reader: the tests of the runtime.
#pragma once

#include <filesystem>
#include <vector>

#include "../../core/op/backend.h"

namespace tilewise::cuda {

std::vector<Backend*> backendsWithKernels(const std::filesystem::path& folder);

}  // namespace tilewise::cuda
