// The loops of delta/target.inl for portable.
#define TILEWISE_SIMD "../simd/portable.inl"
#define TILEWISE_DELTA_KERNELS kDeltaPortable
#define TILEWISE_TARGET_NAME "portable"
#include "../delta/target.inl"
