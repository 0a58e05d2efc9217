// The loops of linear/target.inl for avx2.
#define TILEWISE_SIMD "../simd/avx2.inl"
#define TILEWISE_LINEAR_KERNELS kLinearAvx2
#define TILEWISE_TARGET_NAME "avx2"
#include "../linear/target.inl"
