// The loops of target.inl for neon.
#define TILEWISE_SIMD "../simd/neon.inl"
#define TILEWISE_KERNELS kNeon
#define TILEWISE_TARGET_NAME "neon"
#include "target.inl"
