// LinearKernels: linear attention for one instruction set. Reader: cpu/linear/job.cc and whoever adds a target.
// A table of its own, in files of its own, so that a change here compiles nothing of attention.
#pragma once

#include "../../core/op/linear.h"
#include "../runtime/kernels.h"

namespace tilewise::cpu {

// A group of consecutive chunks of a sequence and of KV heads beside each other: what begins with states of 0 and is
// carried on by others.
struct LinearGroup {
  const LinearProblem* problem;
  LinearSequence sequence;
  int32_t head, heads;  // of keys
  int32_t chunk;  // tokens of a chunk
  Range tokens;  // of the group, counted in the sequence
  Token ahead;  // the thread goes on to here
  int64_t stateStride;  // floats from the state of a head to that of the next one
  Pause pause;
};

struct LinearKernels {
  const char* name;
  // Floats of a state as the loops have it, its normalizer and the group's decay with it.
  int64_t (*stateFloats)(const LinearProblem&);
  int64_t (*scratchFloats)(const LinearProblem&, int32_t chunk, int32_t heads);
  // The states at the end of a group that begins with 0.
  void (*sumGroup)(const LinearGroup&, float* end, float* scratch);
  // The outputs of a group that begins with `carried` (null: 0), and the states that sumGroup() gives unless `end` is
  // null.
  void (*runGroup)(const LinearGroup&, const float* carried, float* end, float* scratch);
  // Outputs that see one state per head, of queries `tokens` of a sequence: not causal.
  void (*readState)(const LinearGroup&, const float* state, float* scratch);
  // carried = decay of `end` * carried + end
  void (*carry)(const LinearProblem&, const float* end, float* carried);
  void (*loadState)(const LinearProblem&, int64_t sequence, int32_t head, float* state);  // 0 where there is none
  void (*storeState)(const LinearProblem&, int64_t sequence, int32_t head, const float* state);
  // One token, from the problem's state to the problem's state.
  int64_t (*stepFloats)(const LinearProblem&);
  void (*step)(const LinearProblem&, const LinearSequence&, int32_t head, float* scratch);
};

// The table of the same instruction set.
const LinearKernels& linearKernels(const Kernels& kernels);

extern const LinearKernels kLinearPortable;
#if defined(TILEWISE_X86)
extern const LinearKernels kLinearAvx2, kLinearAvx512;
#elif defined(TILEWISE_NEON)
extern const LinearKernels kLinearNeon;
#endif

}  // namespace tilewise::cpu
