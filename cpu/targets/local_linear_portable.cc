// The loops of local_linear/target.inl for portable.
#define TILEWISE_SIMD "../simd/portable.inl"
#define TILEWISE_LOCAL_LINEAR_KERNELS kLocalLinearPortable
#define TILEWISE_TARGET_NAME "portable"
#include "../local_linear/target.inl"
