// What nvcc knows and a C++ compiler does not: the keywords, as empty macros, and a vector type.
// Reader: whoever wonders why a .cu compiles here. __shared__ and threadIdx are left out on purpose: see prims.h.
#pragma once

#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __noinline__
#define __forceinline__ inline __attribute__((always_inline))

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
