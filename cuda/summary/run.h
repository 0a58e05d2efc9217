// Summaries of keys on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/reasons.h"
#include "../../core/op/summary.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const SummaryProblem& problem, const Limits& limits);
SummaryProblem stage(Staging& staging, const SummaryProblem& problem);
void run(const SummaryProblem& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
