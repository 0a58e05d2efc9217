// Jobs: a problem cut into work items for the pool. Reader: the backend.
#pragma once

#include <memory>

#include "../core/merge.h"
#include "kernels.h"
#include "pool.h"

namespace tilewise::cpu {

std::shared_ptr<Job> attentionJob(const Problem& problem, const Kernels& kernels, int threads);
std::shared_ptr<Job> mergeJob(const MergeProblem& problem, const Kernels& kernels);

// The table whose panels suit this many rows of a head.
const Kernels& tileKernels(const Kernels& kernels, int64_t rows);

// Query heads of one KV head whose rows share a tile or a decode step for a sequence of `queries` tokens.
int32_t headsPerToken(const Problem& problem, Token queries, int panel);

}  // namespace tilewise::cpu
