// Attention on float16: see cuda/attention/sm80/attend.h.
#include "../attention/sm80/instances.h"

TW_ATTENTION(float16, f16)
TW_ATTENTION_192_128(float16, f16)
