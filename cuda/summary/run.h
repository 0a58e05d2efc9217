// Summaries of keys on a GPU: what cuda/operations.h asks of an operation. There are no kernels, so the backend refuses
// every problem, and only addReasons() is ever called. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/reasons.h"
#include "../../core/op/summary.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

inline void addReasons(Reasons& reasons, const SummaryProblem&, const Limits&) {
  reasons.add("summaries of keys run on the CPU only");
}
inline SummaryProblem stage(Staging&, const SummaryProblem& problem) { return problem; }
inline void run(const SummaryProblem&, const Limits&, Queue&, const CancelFlag&) {}

}  // namespace tilewise::cuda
