// The loops of stats/target.inl for avx512.
#define TILEWISE_SIMD "../simd/avx512.inl"
#define TILEWISE_STATS_KERNELS kStatsAvx512
#define TILEWISE_TARGET_NAME "avx512"
#include "../stats/target.inl"
