// Attention on the CPU: what cpu/operations.h asks of an operation. Reader: the backend.
#pragma once

#include <memory>

#include "../../core/op/attention.h"
#include "../../core/op/reasons.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

void addReasons(Reasons& reasons, const AttentionProblem& problem);
double flopsOf(const AttentionProblem& problem);
int64_t keyBytesOf(const AttentionProblem& problem);  // of all keys and values
int32_t jobsOf(const AttentionProblem& problem);
std::shared_ptr<Job> jobOf(const AttentionProblem& problem, int32_t index, const Kernels& kernels, int threads);

}  // namespace tilewise::cpu
