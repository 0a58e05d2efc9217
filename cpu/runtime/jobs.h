// Jobs: a problem cut into work items for the pool. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/merge.h"
#include "../../core/op/selection.h"
#include "kernels.h"
#include "pool.h"

namespace tilewise::cpu {

std::shared_ptr<Job> attentionJob(const AttentionProblem& problem, const Kernels& kernels, int threads);
std::shared_ptr<Job> mergeJob(const MergeProblem& problem, const Kernels& kernels);
// One stage of a selection; the stages before it must be over.
std::shared_ptr<Job> selectionJob(const SelectionProblem& problem, int32_t stage, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
