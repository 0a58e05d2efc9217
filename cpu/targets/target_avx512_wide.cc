// The loops of target.inl for avx512 with panels of 48 queries, for long sequences.
#define TILEWISE_WIDE
#define TILEWISE_SIMD "../simd/avx512.inl"
#define TILEWISE_KERNELS kAvx512Wide
#define TILEWISE_TARGET_NAME "avx512"
#include "target.inl"
