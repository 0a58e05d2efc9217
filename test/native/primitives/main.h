// Between main and the machine. Reader: host_emulated.cc, host_cuda.cu.
#pragma once

#include <string>

namespace tilewise::cuda::conformance {

void prepareMachine(const std::string& options);

}  // namespace tilewise::cuda::conformance
