// Entry points of local linear attention, one per element type: what cuda/local_linear/run.cc launches.
#include "../local_linear/solve.h"
#include "../prims/kernel.h"

using namespace tilewise::cuda;

TW_KERNEL(local_linear_float32, LocalLinearParams, kLinearThreads, 1) { correctRows<float>(p); }
TW_KERNEL(local_linear_float16, LocalLinearParams, kLinearThreads, 1) { correctRows<f16>(p); }
TW_KERNEL(local_linear_bfloat16, LocalLinearParams, kLinearThreads, 1) { correctRows<bf16>(p); }
