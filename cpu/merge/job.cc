// mergeAttention as work items: rows of partial results merged in the order of the parts.
// Reader: see core/base/softmax.h for the rule. Bound by memory, so a row at a time in float32 is enough.
#include <vector>

#include "../../core/base/softmax.h"
#include "job.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

char* at(const Operand& operand, DType type, int64_t offset) {
  return static_cast<char*>(operand.data) + offset * sizeOf(type);
}

void mergeRow(const MergeProblem& p, const Kernels& kernels, int64_t b, int64_t token, int64_t head, float* sum,
              float* row) {
  SoftmaxState state;
  for (int32_t d = 0; d < p.valueDim; ++d) sum[d] = 0;
  for (const MergePart& part : p.parts) {
    const SoftmaxState from = part.stateAt(b, token, head);
    const MergeFactors f = merge(state, from);
    if (from.sum == 0) continue;  // its output is 0 by contract; reading it could only add NaN
    kernels.readRow(at(part.out, p.dtype, part.out.offset(b, token, head)), p.dtype, part.out.dim, p.valueDim, row);
    for (int32_t d = 0; d < p.valueDim; ++d) sum[d] = sum[d] * f.into + row[d] * f.from;
  }
  const float factor = p.parts[0].justAdds() ? 1 : finishRow(state, p.sink(head));
  for (int32_t d = 0; d < p.valueDim; ++d) sum[d] *= factor;
  kernels.writeRow(sum, p.valueDim, p.dtype, p.out.dim, at(p.out, p.dtype, p.out.offset(b, token, head)));
  if (p.lse) p.lse[b * p.lseBatch + head * p.lseHead + token * p.lseToken] = state.lse();
}

}  // namespace

void addReasons(Reasons&, const MergeProblem&) {}

// Bound by memory: about a row's time.
double flopsOf(const MergeProblem& p) { return 100.0 * p.batch * p.heads * p.queries * double(p.parts.size()); }

int32_t jobsOf(const MergeProblem&) { return 1; }

std::shared_ptr<Job> jobOf(const MergeProblem& problem, int32_t, const Kernels& kernels, int) {
  const auto job = std::make_shared<Job>();
  const int64_t rows = int64_t(problem.batch) * problem.heads * problem.queries;
  job->items = ceilDiv<int64_t>(rows, kRowsPerItem);
  job->work = [problem, &kernels, rows](int64_t item, Worker& worker) {
    float* memory = worker.floats(2 * int64_t(problem.valueDim));
    const int64_t end = smaller<int64_t>(rows, (item + 1) * kRowsPerItem);
    for (int64_t r = item * kRowsPerItem; r < end; ++r) {
      const int64_t head = r % problem.heads, token = r / problem.heads % problem.queries;
      mergeRow(problem, kernels, r / problem.heads / problem.queries, token, head, memory, memory + problem.valueDim);
    }
  };
  return job;
}

}  // namespace tilewise::cpu
