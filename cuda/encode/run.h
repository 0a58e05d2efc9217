// Codes made on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/encode.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const EncodeProblem& problem, const Limits& limits);
EncodeProblem stage(Staging& staging, const EncodeProblem& problem);
void run(const EncodeProblem& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
