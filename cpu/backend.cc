// See backend.h.
#include "backend.h"

#include <utility>

#include "dispatch.h"
#include "jobs.h"
#include "tiling.h"

namespace tilewise::cpu {
namespace {

constexpr int32_t kMaxDim = 512;

// Below about 5 MFLOP waking other threads costs more than they save. From notes on another machine, not measured here.
constexpr double kSerialFlops = 5e6;

double flopsOf(const Problem& p) {
  return 2.0 * p.batch * p.outputHeads() * p.queries * double(p.keys) * (p.headDim + p.valueDim);
}
double flopsOf(const MergeProblem& p) {
  return 100.0 * p.batch * p.heads * p.queries * double(p.parts.size());  // bound by memory: about a row's time
}

std::shared_ptr<Job> jobOf(const Problem& p, int threads) { return attentionJob(p, activeKernels(), threads); }
std::shared_ptr<Job> jobOf(const MergeProblem& p, int) { return mergeJob(p, activeKernels()); }

class CpuBackend final : public Backend {
 public:
  const char* name() const override { return "cpu"; }
  Availability availability() const override { return {true, ""}; }

  std::vector<std::string> supports(const Problem& p) const override {
    std::vector<std::string> reasons;
    const auto range = [&](const char* what, int64_t value, int64_t low, int64_t high) {
      if (value >= low && value <= high) return;
      reasons.push_back(std::string(what) + " is " + std::to_string(value) + ", the CPU backend takes " +
                        std::to_string(low) + " to " + std::to_string(high));
    };
    range("headDim", p.headDim, 1, kMaxDim);
    range("valueDim", p.valueDim, 1, kMaxDim);
    range("queries", p.queries, 0, kMaxTokens);
    range("keys", p.keys, 0, kMaxTokens);
    return reasons;
  }

  void run(const Problem& p, const CancelFlag& cancel) override { runHere(p, cancel); }
  void run(const MergeProblem& p, const CancelFlag& cancel) override { runHere(p, cancel); }
  void submit(const Problem& p, const CancelFlag& cancel, Completion done) override {
    submitJob(p, cancel, std::move(done));
  }
  void submit(const MergeProblem& p, const CancelFlag& cancel, Completion done) override {
    submitJob(p, cancel, std::move(done));
  }

 private:
  template <class P>
  void runHere(const P& problem, const CancelFlag& cancel) {
    Pool& pool = Pool::shared();
    const int threads = flopsOf(problem) < kSerialFlops ? 1 : pool.threads();
    const auto job = jobOf(problem, threads);
    job->cancel = &cancel;
    pool.run(job, threads);
  }

  template <class P>
  void submitJob(const P& problem, const CancelFlag& cancel, Completion done) {
    Pool& pool = Pool::shared();
    const auto job = jobOf(problem, pool.threads());
    job->cancel = &cancel;
    job->done = std::move(done);
    pool.submit(job);
  }
};

}  // namespace

Backend& backend() {
  static auto* backend = new CpuBackend;
  return *backend;
}

int numThreads() { return Pool::shared().threads(); }
void setNumThreads(int threads) { Pool::shared().setThreads(threads); }

std::vector<std::string> instructionSets() {
  std::vector<std::string> names;
  for (const Kernels* kernels : availableKernels()) names.emplace_back(kernels->name);
  return names;
}
std::string instructionSet() { return activeKernels().name; }
bool setInstructionSet(const std::string& name) { return activateKernels(name); }

TileShape tileShape(const Problem& p) {
  const Sequence whole{0, {0, p.queries}, {0, p.keys}};
  const Tiling tiling = tilingOf(p, whole, activeKernels(), 1);
  return {larger<Token>(1, tiling.kernels->panel / tiling.map.headsPerToken), tiling.shape.keys};
}

}  // namespace tilewise::cpu
