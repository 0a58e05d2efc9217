// Attention on float32: see cuda/attention/sm80/attend.h.
#include "../attention/sm80/instances.h"

TW_ATTENTION(float32, float)
