// Jobs: a problem cut into work items for the pool. Reader: the backend.
#pragma once

#include <memory>

#include "../core/merge.h"
#include "kernels.h"
#include "pool.h"

namespace tilewise::cpu {

std::shared_ptr<Job> attentionJob(const Problem& problem, const Kernels& kernels, int threads);
std::shared_ptr<Job> mergeJob(const MergeProblem& problem, const Kernels& kernels);

}  // namespace tilewise::cpu
