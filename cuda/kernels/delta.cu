// Entry points of the gated delta rule, one per element type: what cuda/delta/run.cc launches.
#include "../delta/scan.h"
#include "../prims/kernel.h"

using namespace tilewise::cuda;

TW_KERNEL(delta_float32, DeltaParams, kLinearThreads, 1) { scanDelta<float>(p); }
TW_KERNEL(delta_float16, DeltaParams, kLinearThreads, 1) { scanDelta<f16>(p); }
TW_KERNEL(delta_bfloat16, DeltaParams, kLinearThreads, 1) { scanDelta<bf16>(p); }
