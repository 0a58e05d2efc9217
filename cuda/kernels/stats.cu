// Entry points of statistics of attention: what cuda/stats/run.cc launches.
#include "../prims/kernel.h"
#include "../stats/columns.h"
#include "../stats/diagonals.h"
#include "../stats/rows.h"
#include "../stats/top_keys.h"

using namespace tilewise::cuda;

TW_KERNEL(stats_parts, StatsParams, kStatsSumThreads, 8) { addParts(p); }
TW_KERNEL(stats_top_keys, StatsParams, kListThreads, 4) { keepTopKeys(p); }

#define TW_STATS_KERNELS(type, Element)                                                      \
  TW_KERNEL(stats_rows_##type, StatsParams, kStatsThreads, 2) {                              \
    RowStats<Element>(p, p.firstBlock + block_index()).run();                                \
  }                                                                                          \
  TW_KERNEL(stats_columns_##type, StatsParams, kStatsThreads, 2) { addColumns<Element>(p); } \
  TW_KERNEL(stats_diagonals_##type, StatsParams, kStatsThreads, 2) {                         \
    DiagonalStats<Element>(p, p.firstBlock + block_index()).run();                           \
  }
TW_STATS_KERNELS(float32, float)
TW_STATS_KERNELS(float16, f16)
TW_STATS_KERNELS(bfloat16, bf16)
