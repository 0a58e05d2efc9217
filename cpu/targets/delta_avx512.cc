// The loops of delta/target.inl for avx512.
#define TILEWISE_SIMD "../simd/avx512.inl"
#define TILEWISE_DELTA_KERNELS kDeltaAvx512
#define TILEWISE_TARGET_NAME "avx512"
#include "../delta/target.inl"
