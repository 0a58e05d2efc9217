// Entry points of mergeAttention, one per element type: what cuda/merge/run.cc launches.
#include "../merge/merge_rows.h"
#include "../prims/kernel.h"

using namespace tilewise::cuda;

TW_KERNEL(merge_float32, MergeParams, kMergeThreads, 8) { mergeRows<float>(p); }
TW_KERNEL(merge_float16, MergeParams, kMergeThreads, 8) { mergeRows<f16>(p); }
TW_KERNEL(merge_bfloat16, MergeParams, kMergeThreads, 8) { mergeRows<bf16>(p); }
