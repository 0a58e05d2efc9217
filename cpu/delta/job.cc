// The gated delta rule as work items: sequences and value heads, and columns of the values where those are too few.
// Reader: see core/op/delta.h for the rule, chunk_loop.inl for a chunk. What a token takes up depends on the state
// before it, so chunks of a head follow each other; columns are computed alone, so their split changes no bit.
#include "job.h"

#include <cstring>

#include "../runtime/dispatch.h"
#include "kernels.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

const DeltaKernels& deltaKernels([[maybe_unused]] const Kernels& kernels) {
#if defined(TILEWISE_X86)
  if (std::strcmp(kernels.name, kDeltaAvx512.name) == 0) return kDeltaAvx512;
  if (std::strcmp(kernels.name, kDeltaAvx2.name) == 0) return kDeltaAvx2;
#elif defined(TILEWISE_NEON)
  if (std::strcmp(kernels.name, kDeltaNeon.name) == 0) return kDeltaNeon;
#endif
  return kDeltaPortable;
}

// Into pieces of columns, each of so many strips.
struct Division {
  Division(const DeltaProblem& p, int32_t panel, int threads) : tasks(int64_t(p.sequences) * p.valueHeads) {
    Token longest = 1;
    for (int32_t s = 0; s < p.sequences; ++s) longest = larger(longest, p.tokensOf(s).size());
    chunk = smaller<int32_t>(p.chunk > 0 ? p.chunk : kDeltaChunk, longest);
    if (tasks == 0) return;
    const int32_t all = ceilDiv(p.valueDim, panel);
    strips = ceilDiv(all, int32_t(smaller<int64_t>(all, ceilDiv<int64_t>(threads, tasks))));
    pieces = ceilDiv(all, strips);
  }

  int64_t tasks;
  int32_t chunk, strips = 0, pieces = 1;
};

class DeltaJob {
 public:
  DeltaJob(const DeltaProblem& problem, const DeltaKernels& kernels, int threads)
      : p_(problem), k_(kernels), division_(problem, kernels.panel, threads) {}

  int64_t items() const { return division_.tasks * division_.pieces; }

  void work(int64_t item, Worker& worker) const {
    const int64_t task = item / division_.pieces;
    const int32_t first = int32_t(item % division_.pieces) * division_.strips, chunk = division_.chunk;
    const int32_t strips = smaller(division_.strips, ceilDiv(p_.valueDim, k_.panel) - first);
    const Pause pause{[](void* it) { return static_cast<Worker*>(it)->pause(); }, &worker};
    k_.run({&p_, task / p_.valueHeads, int32_t(task % p_.valueHeads), first, strips, chunk, pause},
           worker.floats(k_.scratchFloats(p_, strips, chunk)));
  }

 private:
  const DeltaProblem p_;
  const DeltaKernels& k_;
  const Division division_;
};

}  // namespace

void addReasons(Reasons&, const DeltaProblem&) {}

double flopsOf(const DeltaProblem& p) {
  const double chunk = p.chunk > 0 ? p.chunk : kDeltaChunk, state = 2.0 * p.headDim * p.valueDim;
  const double perState = 2 * state + chunk * (p.headDim + p.valueDim);
  const double perOutput = state + chunk * (p.headDim + p.valueDim);
  return double(p.batch) * p.tokens * (p.valueHeads * perState + p.outHeads() * perOutput);
}

int32_t jobsOf(const DeltaProblem&) { return 1; }

LinearPasses passesOf(const DeltaProblem& p, int threads) {
  const Division division(p, deltaKernels(activeKernels()).panel, threads);
  return {division.chunk, 1, false, p.bytesOf(division.pieces)};
}

std::shared_ptr<Job> jobOf(const DeltaProblem& problem, int32_t, const Kernels& kernels, int threads) {
  const auto delta = std::make_shared<const DeltaJob>(problem, deltaKernels(kernels), threads);
  const auto job = std::make_shared<Job>();
  job->items = delta->items();
  job->work = [delta](int64_t item, Worker& worker) { delta->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
