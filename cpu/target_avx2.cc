// The loops of target.h for avx2.
#define TILEWISE_SIMD "simd/avx2.h"
#define TILEWISE_KERNELS kAvx2
#define TILEWISE_TARGET_NAME "avx2"
#include "target.h"
