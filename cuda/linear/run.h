// linearAttention on a GPU: what cuda/operations.h asks of an operation. There are no kernels, so the backend refuses
// every problem, and only addReasons() is ever called. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/linear.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

inline void addReasons(Reasons& reasons, const LinearProblem&, const Limits&) {
  reasons.add("linear attention runs on the CPU only");
}
inline LinearProblem stage(Staging&, const LinearProblem& problem) { return problem; }
inline void run(const LinearProblem&, const Limits&, Queue&, const CancelFlag&) {}

}  // namespace tilewise::cuda
