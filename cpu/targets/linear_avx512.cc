// The loops of linear/target.inl for avx512.
#define TILEWISE_SIMD "../simd/avx512.inl"
#define TILEWISE_LINEAR_KERNELS kLinearAvx512
#define TILEWISE_TARGET_NAME "avx512"
#include "../linear/target.inl"
