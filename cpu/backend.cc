// See backend.h.
#include "backend.h"

#include <utility>

#include "attention/tiling.h"
#include "operations.h"
#include "runtime/dispatch.h"
#include "runtime/tuning.h"

namespace tilewise::cpu {
namespace {

class CpuBackend final : public Backend {
 public:
  const char* name() const override { return "cpu"; }
  Availability availability() const override { return {true, ""}; }

  std::vector<std::string> supports(const AnyProblem& problem) const override {
    Reasons reasons("the CPU backend");
    std::visit([&](const auto& p) { addReasons(reasons, p); }, problem);
    return reasons.all();
  }
  TileChoice tiles(const AttentionProblem& p) const override { return tilesFor(p, activeKernels()); }

  LinearPasses passes(const AnyProblem& problem) const override {
    return std::visit([&](const auto& p) { return passesOf(p, threads()); }, problem);
  }

  void run(const AnyProblem& problem, const CancelFlag& cancel) override {
    for (int32_t i = 0; i < jobsIn(problem) && !cancel; ++i) Pool::shared().run(jobAt(problem, i, cancel));
  }
  bool isBrief(const AnyProblem& problem) const override {
    const auto* attention = std::get_if<AttentionProblem>(&problem);
    return attention && flopsOf(*attention) <= kBriefFlops && keyBytesOf(*attention) <= kBriefBytes;
  }
  void submit(const AnyProblem& problem, const CancelFlag& cancel, Completion done) override {
    if (jobsIn(problem) == 0) return done(nullptr);
    submitJob(std::make_shared<const AnyProblem>(problem), 0, cancel, std::move(done));
  }

  int threads() const override { return Pool::shared().threads(); }
  void setThreads(int threads) override { Pool::shared().setThreads(threads); }
  void setThreadsOnce(int threads) override { Pool::shared().setThreadsOnce(threads); }
  RunTimes runTimes() const override { return Pool::shared().runTimes(); }
  std::vector<std::string> instructionSets() const override {
    std::vector<std::string> names;
    for (const Kernels* kernels : availableKernels()) names.emplace_back(kernels->name);
    return names;
  }
  std::string instructionSet() const override { return activeKernels().name; }
  bool setInstructionSet(const std::string& name) override { return activateKernels(name); }

 private:
  static int32_t jobsIn(const AnyProblem& problem) {
    return std::visit([](const auto& p) { return jobsOf(p); }, problem);
  }
  static std::shared_ptr<Job> jobAt(const AnyProblem& problem, int32_t index, const CancelFlag& cancel) {
    const double flops = std::visit([](const auto& p) { return flopsOf(p); }, problem);
    const int threads = flops < kSerialFlops ? 1 : Pool::shared().threads();
    auto job = std::visit([&](const auto& p) { return jobOf(p, index, activeKernels(), threads); }, problem);
    job->cancel = &cancel;
    job->isShort = flops < kShortFlops;
    job->mostThreads = threads;
    return job;
  }

  // A job may read what the one before has written, so each is submitted when that one is done.
  static void submitJob(const std::shared_ptr<const AnyProblem>& problem, int32_t index, const CancelFlag& cancel,
                        Completion done) {
    const auto job = jobAt(*problem, index, cancel);
    job->done = [problem, index, &cancel, done = std::move(done)](std::exception_ptr error) {
      if (error || cancel || index + 1 == jobsIn(*problem)) return done(error);
      try {
        submitJob(problem, index + 1, cancel, done);
      } catch (...) {
        done(std::current_exception());
      }
    };
    Pool::shared().submit(job);
  }
};

}  // namespace

Backend& backend() {
  static auto* backend = new CpuBackend;
  return *backend;
}

}  // namespace tilewise::cpu
