// Statistics of attention on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/reasons.h"
#include "../../core/op/stats.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const StatsProblem& problem);
double flopsOf(const StatsProblem& problem);
int32_t jobsOf(const StatsProblem& problem);
std::shared_ptr<Job> jobOf(const StatsProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
