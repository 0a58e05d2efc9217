// The loops of stats/target.inl for portable.
#define TILEWISE_SIMD "../simd/portable.inl"
#define TILEWISE_STATS_KERNELS kStatsPortable
#define TILEWISE_TARGET_NAME "portable"
#include "../stats/target.inl"
