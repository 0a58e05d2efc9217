// See run.h. What a call copies to the device and back: rows of no run stay as they are.

#include "run.h"

namespace tilewise::cuda {

SummaryProblem stage(Staging& staging, const SummaryProblem& problem) {
  SummaryProblem p = problem;
  staging.input(p.key, p.batch, p.tokens, p.heads, p.headDim, p.type);
  staging.inputList(p.runs, p.runCount);
  const auto rows = [&](auto& array, int64_t columns, int64_t bytes) {
    int64_t stride = 1;
    staging.update(array, {{p.rows * p.heads * columns, &stride}}, {bytes, bytes, true});
  };
  rows(p.bounds, 2 * int64_t(p.headDim), sizeOf(p.type));
  rows(p.means, p.headDim, sizeof(float));
  return p;
}

}  // namespace tilewise::cuda
