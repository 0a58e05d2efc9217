// Entry points of codes: what cuda/encode/run.cc launches.
#include "../encode/encode_rows.h"
#include "../encode/narrow_blocks.h"
#include "../prims/kernel.h"

using namespace tilewise::cuda;

TW_KERNEL(encode_float32, EncodeParams, kEncodeThreads, 8) { encodeRows<float>(p); }
TW_KERNEL(encode_float16, EncodeParams, kEncodeThreads, 8) { encodeRows<f16>(p); }
TW_KERNEL(encode_bfloat16, EncodeParams, kEncodeThreads, 8) { encodeRows<bf16>(p); }
TW_KERNEL(encode_narrowed, EncodeParams, kEncodeThreads, 8) { narrowBlocks(p); }
