// linearAttention on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/linear.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

// A problem whose arrays are on the device. `cuSeqlens` of the problem stays on the host, as plans need it.
struct StagedLinear {
  LinearProblem problem;
  const int32_t* cuSeqlens = nullptr;
};

void addReasons(Reasons& reasons, const LinearProblem& problem, const Limits& limits);
StagedLinear stage(Staging& staging, const LinearProblem& problem);
LinearPasses passesOf(const LinearProblem& problem, const Limits& limits);
void run(const StagedLinear& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
