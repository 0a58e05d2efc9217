// Attention on a GPU: what cuda/operations.h asks of an operation. Reader: the backend.
#pragma once

#include "../../core/op/backend.h"
#include "../../core/op/reasons.h"
#include "../machine/machine.h"
#include "../staging/staging.h"

namespace tilewise::cuda {

struct StagedAttention {
  AttentionProblem problem;
  AttentionProblem lengths;  // the caller's, with the sequences' lengths on the host; the rest is ignored
};

void addReasons(Reasons& reasons, const AttentionProblem& problem, const Limits& limits);
StagedAttention stage(Staging& staging, const AttentionProblem& problem);
void run(const StagedAttention& staged, const Limits& limits, Queue& queue, const CancelFlag& cancel);

// What the kernels visit or skip as one for a problem, for explain().
TileChoice tilesFor(const AttentionProblem& problem);

}  // namespace tilewise::cuda
