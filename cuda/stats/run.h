// Statistics of attention on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/reasons.h"
#include "../../core/op/stats.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const StatsProblem& problem, const Limits& limits);
StatsProblem stage(Staging& staging, const StatsProblem& problem);
void run(const StatsProblem& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
