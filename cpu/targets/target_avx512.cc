// The loops of target.inl for avx512.
#define TILEWISE_SIMD "../simd/avx512.inl"
#define TILEWISE_KERNELS kAvx512
#define TILEWISE_WIDER &kAvx512Wide
#define TILEWISE_TARGET_NAME "avx512"
#include "target.inl"
