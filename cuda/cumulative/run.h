// cumulativeAttention on a GPU: what cuda/operations.h asks of an operation. There are no kernels, so the backend
// refuses every problem, and only addReasons() is ever called. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/cumulative.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

inline void addReasons(Reasons& reasons, const CumulativeProblem&, const Limits&) {
  reasons.add("cumulative attention runs on the CPU only");
}
inline CumulativeProblem stage(Staging&, const CumulativeProblem& problem) { return problem; }
inline void run(const CumulativeProblem&, const Limits&, Queue&, const CancelFlag&) {}

}  // namespace tilewise::cuda
