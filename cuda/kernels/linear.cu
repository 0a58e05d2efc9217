// Entry points of linear attention: what cuda/linear/run.cc launches. Reader: someone who looks for a kernel by its
// name: what it computes, the type of elements, and columns of values per block of threads.
#include "../linear/carry.h"
#include "../linear/scan.h"
#include "../prims/kernel.h"

using namespace tilewise::cuda;

TW_KERNEL(linear_carry, LinearParams, kCarryThreads, 4) { carryStates(p); }

#define TW_LINEAR_KERNELS(type, Element, columns)                                 \
  TW_KERNEL(linear_sums_##type##_##columns, LinearParams, kLinearThreads, 1) {    \
    scanChunks<Element, columns, false>(p);                                       \
  }                                                                               \
  TW_KERNEL(linear_outputs_##type##_##columns, LinearParams, kLinearThreads, 1) { \
    scanChunks<Element, columns, true>(p);                                        \
  }
TW_LINEAR_KERNELS(float32, float, 64)
TW_LINEAR_KERNELS(float32, float, 128)
TW_LINEAR_KERNELS(float16, f16, 64)
TW_LINEAR_KERNELS(float16, f16, 128)
TW_LINEAR_KERNELS(bfloat16, bf16, 64)
TW_LINEAR_KERNELS(bfloat16, bf16, 128)
