// The loops of linear/target.inl for portable.
#define TILEWISE_SIMD "../simd/portable.inl"
#define TILEWISE_LINEAR_KERNELS kLinearPortable
#define TILEWISE_TARGET_NAME "portable"
#include "../linear/target.inl"
