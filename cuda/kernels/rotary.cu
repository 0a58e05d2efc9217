// Entry points of rotate(), one per element type: what cuda/rotary/run.cc launches.
#include "../prims/kernel.h"
#include "../rotary/rotate_rows.h"

using namespace tilewise::cuda;

TW_KERNEL(rotary_float32, RotaryParams, kRotaryThreads, 8) { rotateRows<float>(p); }
TW_KERNEL(rotary_float16, RotaryParams, kRotaryThreads, 8) { rotateRows<f16>(p); }
TW_KERNEL(rotary_bfloat16, RotaryParams, kRotaryThreads, 8) { rotateRows<bf16>(p); }
