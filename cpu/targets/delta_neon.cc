// The loops of delta/target.inl for neon.
#define TILEWISE_SIMD "../simd/neon.inl"
#define TILEWISE_DELTA_KERNELS kDeltaNeon
#define TILEWISE_TARGET_NAME "neon"
#include "../delta/target.inl"
