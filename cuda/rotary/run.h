// rotate() on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"
#include "params.h"

namespace tilewise::cuda {

// The problem with its rows on the device, and their rotations, which the host makes: GPUs are slow at float64.
struct StagedRotary {
  RotaryProblem problem;
  Rotations rotations;
};

void addReasons(Reasons& reasons, const RotaryProblem& problem, const Limits& limits);
StagedRotary stage(Staging& staging, const RotaryProblem& problem);
void run(const StagedRotary& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
