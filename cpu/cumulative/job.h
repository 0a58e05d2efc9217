// cumulativeAttention on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/cumulative.h"
#include "../../core/op/linear.h"
#include "../../core/op/reasons.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const CumulativeProblem& problem);
double flopsOf(const CumulativeProblem& problem);
int32_t jobsOf(const CumulativeProblem& problem);
LinearPasses passesOf(const CumulativeProblem& problem, int threads);
std::shared_ptr<Job> jobOf(const CumulativeProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
