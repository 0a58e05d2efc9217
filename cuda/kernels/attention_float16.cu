// Attention on float16: see cuda/attention/attend.h.
#include "../attention/instances.h"

TW_ATTENTION(float16, f16)
