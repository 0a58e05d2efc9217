// The loops of stats/target.inl for neon.
#define TILEWISE_SIMD "../simd/neon.inl"
#define TILEWISE_STATS_KERNELS kStatsNeon
#define TILEWISE_TARGET_NAME "neon"
#include "../stats/target.inl"
