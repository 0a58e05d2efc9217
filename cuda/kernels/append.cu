// Entry points of appending, one per element type of the pages: what cuda/append/run.cc launches.
#include "../append/append_rows.h"
#include "../prims/kernel.h"

using namespace tilewise;
using namespace tilewise::cuda;

TW_KERNEL(append_float32, AppendParams, kAppendThreads, 8) { appendRows<float>(p); }
TW_KERNEL(append_float16, AppendParams, kAppendThreads, 8) { appendRows<Float16>(p); }
TW_KERNEL(append_bfloat16, AppendParams, kAppendThreads, 8) { appendRows<Bfloat16>(p); }
