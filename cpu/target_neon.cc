// The loops of target.h for neon.
#define TILEWISE_SIMD "simd/neon.h"
#define TILEWISE_KERNELS kNeon
#define TILEWISE_TARGET_NAME "neon"
#include "target.h"
