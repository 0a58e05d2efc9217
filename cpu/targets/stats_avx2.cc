// The loops of stats/target.inl for avx2.
#define TILEWISE_SIMD "../simd/avx2.inl"
#define TILEWISE_STATS_KERNELS kStatsAvx2
#define TILEWISE_TARGET_NAME "avx2"
#include "../stats/target.inl"
