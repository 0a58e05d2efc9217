// The few bfloat16 instances that mutants are tried on: each compiles them anew.
#include "../../../cuda/attention/sm80/instances.h"

namespace tilewise::cuda {
TW_ATTENTION_DIM(bfloat16, bf16, 32)
TW_ATTENTION_KERNEL(stream, window, OneWindow, bfloat16, bf16, 64)
TW_ATTENTION_HELPERS(bfloat16, bf16)
}  // namespace tilewise::cuda
