// mergeAttention on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const MergeProblem& problem, const Limits& limits);
MergeProblem stage(Staging& staging, const MergeProblem& problem);
void run(const MergeProblem& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
