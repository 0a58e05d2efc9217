// The loops of target.inl for portable.
#define TILEWISE_SIMD "../simd/portable.inl"
#define TILEWISE_KERNELS kPortable
#define TILEWISE_TARGET_NAME "portable"
#include "target.inl"
