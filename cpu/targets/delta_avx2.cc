// The loops of delta/target.inl for avx2.
#define TILEWISE_SIMD "../simd/avx2.inl"
#define TILEWISE_DELTA_KERNELS kDeltaAvx2
#define TILEWISE_TARGET_NAME "avx2"
#include "../delta/target.inl"
