// Codes made on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/encode.h"
#include "../../core/op/reasons.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const EncodeProblem& problem);
double flopsOf(const EncodeProblem& problem);
int32_t jobsOf(const EncodeProblem& problem);
std::shared_ptr<Job> jobOf(const EncodeProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
