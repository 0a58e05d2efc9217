// Local linear attention on a GPU: what cuda/operations.h asks of an operation. There are no kernels, so the backend
// refuses every problem, and only addReasons() is ever called. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/local_linear.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

inline void addReasons(Reasons& reasons, const LocalLinearProblem&, const Limits&) {
  reasons.add("local linear attention runs on the CPU only");
}
inline LocalLinearProblem stage(Staging&, const LocalLinearProblem& problem) { return problem; }
inline void run(const LocalLinearProblem&, const Limits&, Queue&, const CancelFlag&) {}

}  // namespace tilewise::cuda
