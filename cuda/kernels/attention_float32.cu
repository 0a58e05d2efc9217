// Attention on float32: see cuda/attention/attend.h.
#include "../attention/instances.h"

TW_ATTENTION(float32, float)
