// Entry points of summaries of keys: what cuda/summary/run.cc launches.
#include "../prims/kernel.h"
#include "../summary/summarise.h"

using namespace tilewise::cuda;

TW_KERNEL(summary_float32, SummaryParams, kSummaryThreads, 16) { summarise<float>(p); }
TW_KERNEL(summary_float16, SummaryParams, kSummaryThreads, 16) { summarise<f16>(p); }
TW_KERNEL(summary_bfloat16, SummaryParams, kSummaryThreads, 16) { summarise<bf16>(p); }
