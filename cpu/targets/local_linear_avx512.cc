// The loops of local_linear/target.inl for avx512.
#define TILEWISE_SIMD "../simd/avx512.inl"
#define TILEWISE_LOCAL_LINEAR_KERNELS kLocalLinearAvx512
#define TILEWISE_TARGET_NAME "avx512"
#include "../local_linear/target.inl"
