// Entry points of cumulative attention: what cuda/cumulative/run.cc launches.
#include "../cumulative/scan_tokens.h"
#include "../prims/kernel.h"

using namespace tilewise::cuda;

TW_KERNEL(cumulative_carry, CumulativeParams, kCumulativeThreads, 8) { carrySums(p); }

#define TW_CUMULATIVE_KERNELS(type, Element)                                                                    \
  TW_KERNEL(cumulative_sums_##type, CumulativeParams, kCumulativeThreads, 8) { scanTokens<Element, false>(p); } \
  TW_KERNEL(cumulative_outputs_##type, CumulativeParams, kCumulativeThreads, 8) { scanTokens<Element, true>(p); }
TW_CUMULATIVE_KERNELS(float32, float)
TW_CUMULATIVE_KERNELS(float16, f16)
TW_CUMULATIVE_KERNELS(bfloat16, bf16)
