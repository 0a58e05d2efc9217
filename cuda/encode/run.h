// Codes made on a GPU: what cuda/operations.h asks of an operation. There are no kernels, so the backend refuses every
// problem, and only addReasons() is ever called. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/encode.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

inline void addReasons(Reasons& reasons, const EncodeProblem&, const Limits&) {
  reasons.add("codes are made on the CPU only");
}
inline EncodeProblem stage(Staging&, const EncodeProblem& problem) { return problem; }
inline void run(const EncodeProblem&, const Limits&, Queue&, const CancelFlag&) {}

}  // namespace tilewise::cuda
