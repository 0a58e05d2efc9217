// The loops of target.h for portable.
#define TILEWISE_SIMD "simd/portable.h"
#define TILEWISE_KERNELS kPortable
#define TILEWISE_TARGET_NAME "portable"
#include "target.h"
