// StatsKernels: statistics of attention for one instruction set. Reader: cpu/stats/job.cc and whoever adds a target.
// A table of its own, in files of its own, so that a change here compiles nothing of attention.
#pragma once

#include "../../core/op/stats.h"
#include "../runtime/kernels.h"

namespace tilewise::cpu {

// Some queries of all query heads of a KV head, and where their sums go; null: not wanted.
struct StatsItem {
  const StatsProblem* problem;
  int64_t batch;
  int32_t kvHead;
  Range queries;
  Token groupQueries;  // of the longest item
  float* columns;  // [heads][keys], heads headStride apart
  float* diagonals;  // the same
  int64_t headStride;
  float* maxima;  // [keys]
  Pause pause;
};

struct StatsKernels {
  const char* name;
  int64_t (*scratchFloats)(const StatsProblem&, Token groupQueries);
  void (*run)(const StatsItem&, float* scratch);
};

// The table of the same instruction set.
const StatsKernels& statsKernels(const Kernels& kernels);

extern const StatsKernels kStatsPortable;
#if defined(TILEWISE_X86)
extern const StatsKernels kStatsAvx2, kStatsAvx512;
#elif defined(TILEWISE_NEON)
extern const StatsKernels kStatsNeon;
#endif

}  // namespace tilewise::cpu
