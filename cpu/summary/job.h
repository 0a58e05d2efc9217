// Summaries of keys on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/reasons.h"
#include "../../core/op/summary.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const SummaryProblem& problem);
double flopsOf(const SummaryProblem& problem);
int32_t jobsOf(const SummaryProblem& problem);
std::shared_ptr<Job> jobOf(const SummaryProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
