// The loops of target.inl for avx2.
#define TILEWISE_SIMD "../simd/avx2.inl"
#define TILEWISE_KERNELS kAvx2
#define TILEWISE_TARGET_NAME "avx2"
#include "target.inl"
