// cumulativeAttention on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/cumulative.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const CumulativeProblem& problem, const Limits& limits);
CumulativeProblem stage(Staging& staging, const CumulativeProblem& problem);
LinearPasses passesOf(const CumulativeProblem& problem, const Limits& limits);
void run(const CumulativeProblem& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
