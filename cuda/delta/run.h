// The gated delta rule on a GPU: what cuda/operations.h asks of an operation. There are no kernels, so the backend
// refuses every problem, and only addReasons() is ever called. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/delta.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

inline void addReasons(Reasons& reasons, const DeltaProblem&, const Limits&) {
  reasons.add("the gated delta rule runs on the CPU only");
}
inline DeltaProblem stage(Staging&, const DeltaProblem& problem) { return problem; }
inline void run(const DeltaProblem&, const Limits&, Queue&, const CancelFlag&) {}

}  // namespace tilewise::cuda
