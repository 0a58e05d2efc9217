// The gated delta rule on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/delta.h"
#include "../../core/op/linear.h"
#include "../../core/op/reasons.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const DeltaProblem& problem);
double flopsOf(const DeltaProblem& problem);
int32_t jobsOf(const DeltaProblem& problem);
LinearPasses passesOf(const DeltaProblem& problem, int threads);
std::shared_ptr<Job> jobOf(const DeltaProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
