// Attention on bfloat16: see cuda/attention/sm80/attend.h.
#include "../attention/sm80/instances.h"

TW_ATTENTION(bfloat16, bf16)
TW_ATTENTION_192_128(bfloat16, bf16)
