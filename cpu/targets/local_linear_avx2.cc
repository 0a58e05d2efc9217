// The loops of local_linear/target.inl for avx2.
#define TILEWISE_SIMD "../simd/avx2.inl"
#define TILEWISE_LOCAL_LINEAR_KERNELS kLocalLinearAvx2
#define TILEWISE_TARGET_NAME "avx2"
#include "../local_linear/target.inl"
