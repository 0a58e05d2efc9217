// The loops of local_linear/target.inl for neon.
#define TILEWISE_SIMD "../simd/neon.inl"
#define TILEWISE_LOCAL_LINEAR_KERNELS kLocalLinearNeon
#define TILEWISE_TARGET_NAME "neon"
#include "../local_linear/target.inl"
