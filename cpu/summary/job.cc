// Summaries as work items: some runs of keys of one head. Reader: see core/op/summary.h. Bound by memory.
#include "job.h"

namespace tilewise::cpu {
namespace {

// Keys of an item, about. Not measured.
constexpr int64_t kSummedKeys = 1024;

// largest = max(largest, row) and so on, channel by channel.
void take(const float* row, int32_t dim, float* largest, float* smallest, float* sum) {
  for (int32_t d = 0; d < dim; ++d) {
    largest[d] = larger(largest[d], row[d]);
    smallest[d] = smaller(smallest[d], row[d]);
    sum[d] += row[d];
  }
}

void summarise(const SummaryProblem& p, const SummaryRun& run, int32_t head, const Kernels& kernels, float* memory) {
  const int32_t dim = p.headDim;
  float *const row = memory, *const largest = row + dim, *const smallest = largest + dim, *const sum = smallest + dim;
  for (int32_t i = 0; i < run.count; ++i) {
    const int64_t at = p.key.offset(run.batch, run.first + i, head);
    const void* key = static_cast<const char*>(p.key.data) + at * sizeOf(p.type);
    kernels.readRow(key, p.type, p.key.dim, dim, row);
    for (int32_t d = 0; i == 0 && d < dim; ++d) {
      largest[d] = smallest[d] = row[d];
      sum[d] = 0;
    }
    take(row, dim, largest, smallest, sum);
  }
  const int64_t to = int64_t(run.row) * p.heads + head;
  if (p.bounds) {
    kernels.writeRow(largest, 2 * dim, p.type, 1, static_cast<char*>(p.bounds.data) + to * 2 * dim * sizeOf(p.type));
  }
  if (p.means) {
    for (int32_t d = 0; d < dim; ++d) p.means[to * dim + d] = sum[d] / float(run.count);
  }
}

}  // namespace

void addReasons(Reasons&, const SummaryProblem&) {}

// About the time of as many.
double flopsOf(const SummaryProblem& p) {
  double keys = 0;
  for (int64_t i = 0; i < p.runCount; ++i) keys += p.runs[i].count;
  return 8.0 * keys * p.heads * p.headDim;
}

int32_t jobsOf(const SummaryProblem&) { return 1; }

std::shared_ptr<Job> jobOf(const SummaryProblem& problem, int32_t, const Kernels& kernels, int) {
  const auto job = std::make_shared<Job>();
  const int64_t keys = problem.isEmpty() ? 1 : problem.runs[0].count;
  const int64_t perItem = larger<int64_t>(1, kSummedKeys / keys);
  const int64_t groups = ceilDiv(problem.runCount, perItem);
  job->items = groups * problem.heads;
  job->work = [problem, perItem, groups, &kernels](int64_t item, Worker& worker) {
    float* const memory = worker.floats(4 * int64_t(problem.headDim));
    const int64_t begin = item % groups * perItem, end = smaller(problem.runCount, begin + perItem);
    for (int64_t i = begin; i < end; ++i) {
      summarise(problem, problem.runs[i], int32_t(item / groups), kernels, memory);
    }
  };
  return job;
}

}  // namespace tilewise::cpu
