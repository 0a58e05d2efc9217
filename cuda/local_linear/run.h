// Local linear attention on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/local_linear.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const LocalLinearProblem& problem, const Limits& limits);
LocalLinearProblem stage(Staging& staging, const LocalLinearProblem& problem);
void run(const LocalLinearProblem& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
