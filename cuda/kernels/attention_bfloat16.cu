// Attention on bfloat16: see cuda/attention/attend.h.
#include "../attention/instances.h"

TW_ATTENTION(bfloat16, bf16)
