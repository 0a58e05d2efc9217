// rotate() on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/reasons.h"
#include "../../core/op/rotary.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const RotaryProblem& problem);
double flopsOf(const RotaryProblem& problem);
int32_t jobsOf(const RotaryProblem& problem);
std::shared_ptr<Job> jobOf(const RotaryProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
