// Launches through the CUDA runtime. Reader: host.h.
#pragma once

#include <cuda_runtime.h>

namespace tilewise::cuda::conformance {

void check(cudaError_t error, const char* what);

template <class Params>
void launch(void (*kernel)(Params), const Grid& grid, const Params& params) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(grid.sharedBytes)),
        "shared memory");
  kernel<<<grid.blocks, grid.threads, grid.sharedBytes>>>(params);
  check(cudaGetLastError(), "launch");
  check(cudaDeviceSynchronize(), "run");
}

}  // namespace tilewise::cuda::conformance
