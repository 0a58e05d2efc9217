// The loops of linear/target.inl for neon.
#define TILEWISE_SIMD "../simd/neon.inl"
#define TILEWISE_LINEAR_KERNELS kLinearNeon
#define TILEWISE_TARGET_NAME "neon"
#include "../linear/target.inl"
