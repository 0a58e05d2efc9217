// Appending on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/append.h"
#include "../../core/op/backend.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const AppendProblem& problem, const Limits& limits);
AppendProblem stage(Staging& staging, const AppendProblem& problem);
void run(const AppendProblem& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
