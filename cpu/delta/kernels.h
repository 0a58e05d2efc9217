// DeltaKernels: the gated delta rule for one instruction set. Reader: cpu/delta/job.cc and whoever adds a target.
#pragma once

#include "../../core/op/delta.h"
#include "../runtime/kernels.h"

namespace tilewise::cpu {

// All tokens of a sequence and value head, for some columns of its values: columns do not need each other.
struct DeltaTask {
  const DeltaProblem* problem;
  int64_t sequence;
  int32_t head;  // of values
  int32_t firstStrip, strips;  // of columns, as many as DeltaKernels::panel each
  int32_t chunk;
  Pause pause;
};

struct DeltaKernels {
  const char* name;
  int panel;
  int64_t (*scratchFloats)(const DeltaProblem&, int32_t strips, int32_t chunk);
  void (*run)(const DeltaTask&, float* scratch);
};

extern const DeltaKernels kDeltaPortable;
#if defined(TILEWISE_X86)
extern const DeltaKernels kDeltaAvx2, kDeltaAvx512;
#elif defined(TILEWISE_NEON)
extern const DeltaKernels kDeltaNeon;
#endif

}  // namespace tilewise::cpu
