// Local linear attention on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/local_linear.h"
#include "../../core/op/reasons.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const LocalLinearProblem& problem);
double flopsOf(const LocalLinearProblem& problem);
int32_t jobsOf(const LocalLinearProblem& problem);
std::shared_ptr<Job> jobOf(const LocalLinearProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
