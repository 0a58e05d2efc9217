// The gated delta rule on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/delta.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const DeltaProblem& problem, const Limits& limits);
DeltaProblem stage(Staging& staging, const DeltaProblem& problem);
LinearPasses passesOf(const DeltaProblem& problem, const Limits& limits);
void run(const DeltaProblem& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
