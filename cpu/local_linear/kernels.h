// LocalLinearKernels: local linear attention for one instruction set. Reader: cpu/local_linear/job.cc and whoever adds
// a target.
#pragma once

#include "../../core/op/local_linear.h"
#include "../runtime/kernels.h"

namespace tilewise::cpu {

// A panel: as many rows as LocalLinearKernels::panel, row r of a KV head being query token r / headsPerKey() of head
// r % headsPerKey() of its group.
struct LocalLinearTask {
  const LocalLinearProblem* problem;
  int64_t batch;
  int32_t head;  // of keys
  int64_t firstRow;
  Pause pause;
};

struct LocalLinearKernels {
  const char* name;
  int panel;
  int64_t (*scratchFloats)(const LocalLinearProblem&);
  void (*run)(const LocalLinearTask&, float* scratch);
};

extern const LocalLinearKernels kLocalLinearPortable;
#if defined(TILEWISE_X86)
extern const LocalLinearKernels kLocalLinearAvx2, kLocalLinearAvx512;
#elif defined(TILEWISE_NEON)
extern const LocalLinearKernels kLocalLinearNeon;
#endif

}  // namespace tilewise::cpu
