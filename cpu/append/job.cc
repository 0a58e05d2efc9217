// Appending as work items: tokens whose rows go to their slots. Reader: someone who asks how rows are converted.
#include "job.h"

#include <cstring>

#include "tuning.h"

namespace tilewise::cpu {
namespace {

char* at(const Operand& operand, DType type, int64_t offset) {
  return static_cast<char*>(operand.data) + offset * sizeOf(type);
}

// Rows of all heads of a token. Those of the pages' own type keep their bits.
void copyToken(const AppendProblem& p, const AppendedRows& rows, const Kernels& kernels, int64_t index, float* row) {
  const int64_t b = index / p.tokens, t = index % p.tokens;
  const bool isSame = p.from == p.to && rows.from.dim == 1 && rows.to.dim == 1;
  for (int32_t head = 0; head < p.heads; ++head) {
    const char* const from = at(rows.from, p.from, rows.from.offset(b, t, head));
    char* const to = at(rows.to, p.to, p.slots.offset(rows.to, index, head));
    if (isSame) {
      std::memcpy(to, from, size_t(rows.dim * sizeOf(p.to)));
    } else {
      kernels.readRow(from, p.from, rows.from.dim, rows.dim, row);
      kernels.writeRow(row, rows.dim, p.to, rows.to.dim, to);
    }
  }
}

}  // namespace

void addReasons(Reasons&, const AppendProblem&) {}

// Bound by memory: about the time of as many.
double flopsOf(const AppendProblem& p) { return 8.0 * p.rows() * p.heads * (p.keys.dim + p.values.dim); }

int32_t jobsOf(const AppendProblem&) { return 1; }

std::shared_ptr<Job> jobOf(const AppendProblem& problem, int32_t, const Kernels& kernels, int) {
  const auto job = std::make_shared<Job>();
  job->items = ceilDiv<int64_t>(problem.rows(), kTokensPerItem);
  job->work = [problem, &kernels](int64_t item, Worker& worker) {
    float* const row = worker.floats(larger(problem.keys.dim, problem.values.dim));
    const int64_t end = smaller<int64_t>(problem.rows(), (item + 1) * kTokensPerItem);
    for (int64_t index = item * kTokensPerItem; index < end; ++index) {
      if (!problem.slots.keeps(index)) continue;
      for (const AppendedRows& rows : {problem.keys, problem.values}) {
        if (rows.dim > 0) copyToken(problem, rows, kernels, index, row);
      }
    }
  };
  return job;
}

}  // namespace tilewise::cpu
