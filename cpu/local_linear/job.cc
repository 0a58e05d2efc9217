// Local linear attention as work items: panels of rows of a batch entry and KV head, those with the most keys first.
// Reader: see core/op/local_linear.h for the rule, passes.inl for what is computed for a panel.
#include "job.h"

#include <cstring>

#include "kernels.h"

namespace tilewise::cpu {
namespace {

const LocalLinearKernels& localLinearKernels([[maybe_unused]] const Kernels& kernels) {
#if defined(TILEWISE_X86)
  if (std::strcmp(kernels.name, kLocalLinearAvx512.name) == 0) return kLocalLinearAvx512;
  if (std::strcmp(kernels.name, kLocalLinearAvx2.name) == 0) return kLocalLinearAvx2;
#elif defined(TILEWISE_NEON)
  if (std::strcmp(kernels.name, kLocalLinearNeon.name) == 0) return kLocalLinearNeon;
#endif
  return kLocalLinearPortable;
}

}  // namespace

void addReasons(Reasons&, const LocalLinearProblem&) {}

double flopsOf(const LocalLinearProblem& p) {
  const double pairs = double(p.batch) * p.queryHeads * p.queries * p.keys * (p.isCausal ? 0.5 : 1);
  const double products = p.isSolved() ? 3.0 + 2.0 * p.iterations : 3.0;
  return 2 * pairs * (products * p.headDim + p.valueDim);
}

int32_t jobsOf(const LocalLinearProblem&) { return 1; }

std::shared_ptr<Job> jobOf(const LocalLinearProblem& problem, int32_t, const Kernels& kernels, int) {
  const LocalLinearKernels& k = localLinearKernels(kernels);
  const int64_t panels = ceilDiv<int64_t>(int64_t(problem.queries) * problem.headsPerKey(), k.panel);
  const int64_t heads = int64_t(problem.batch) * problem.kvHeads;
  const auto p = std::make_shared<const LocalLinearProblem>(problem);
  const auto job = std::make_shared<Job>();
  job->items = panels * heads;
  job->work = [p, &k, panels, heads](int64_t item, Worker& worker) {
    const int64_t panel = panels - 1 - item / heads, head = item % heads;
    const Pause pause{[](void* it) { return static_cast<Worker*>(it)->pause(); }, &worker};
    k.run({p.get(), head / p->kvHeads, int32_t(head % p->kvHeads), panel * k.panel, pause},
          worker.floats(k.scratchFloats(*p)));
  };
  return job;
}

}  // namespace tilewise::cpu
