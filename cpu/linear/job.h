// linearAttention on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/linear.h"
#include "../../core/op/reasons.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const LinearProblem& problem);
double flopsOf(const LinearProblem& problem);
LinearPasses passesOf(const LinearProblem& problem, int threads);
int32_t jobsOf(const LinearProblem& problem);
std::shared_ptr<Job> jobOf(const LinearProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
