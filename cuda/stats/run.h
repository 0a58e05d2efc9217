// Statistics of attention on a GPU: what cuda/operations.h asks of an operation. There are no kernels, so the backend
// refuses every problem, and only addReasons() is ever called. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/reasons.h"
#include "../../core/op/stats.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

inline void addReasons(Reasons& reasons, const StatsProblem&, const Limits&) {
  reasons.add("statistics of attention run on the CPU only");
}
inline StatsProblem stage(Staging&, const StatsProblem& problem) { return problem; }
inline void run(const StatsProblem&, const Limits&, Queue&, const CancelFlag&) {}

}  // namespace tilewise::cuda
