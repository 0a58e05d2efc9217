// See backend.h.
#include "backend.h"

#include <utility>

#include "../core/op/reasons.h"
#include "runtime/dispatch.h"
#include "runtime/jobs.h"
#include "attention/tiling.h"

namespace tilewise::cpu {
namespace {

constexpr char kName[] = "the CPU backend";  // in sentences
constexpr int32_t kMaxDim = 512;
constexpr int32_t kMaxSampledRows = 1 << 16;  // of a selection's block: each thread holds them, per head of a group

// Below about 5 MFLOP waking other threads costs more than they save. From notes on another machine, not measured here.
constexpr double kSerialFlops = 5e6;

double flopsOf(const AttentionProblem& p) {
  return 2.0 * p.batch * p.outputHeads() * p.queries * double(p.keys) * (p.headDim + p.valueDim);
}
double flopsOf(const MergeProblem& p) {
  return 100.0 * p.batch * p.heads * p.queries * double(p.parts.size());  // bound by memory: about a row's time
}

double flopsOf(const SelectionProblem& p) {  // a tenth of the keys against a quarter of the queries, roughly
  return 0.05 * p.batch * p.outputHeads() * p.queries * double(p.keys) * p.headDim;
}

std::shared_ptr<Job> jobOf(const AttentionProblem& p, int threads) { return attentionJob(p, activeKernels(), threads); }
std::shared_ptr<Job> jobOf(const MergeProblem& p, int) { return mergeJob(p, activeKernels()); }

TileChoice chooseTiles(const AttentionProblem& p) {
  const Sequence whole{0, {0, larger<Token>(p.queries, 1)}, {0, p.keys}};
  const Tiling tiling = tilingOf(p, whole, activeKernels(), 1);
  const std::string panel = std::to_string(tiling.kernels->panel), set = tiling.kernels->name;
  TileChoice choice;
  TileRule& rule = choice.rule;
  rule.isCut = true;
  if (tiling.isGrid) {
    for (int a = 0; a < kMaxRank; ++a) rule.queries[a] = tiling.panel[a];
    choice.why =
        "the box of " + panel + " queries (" + set +
        ") whose windows together hold the fewest keys; keys are read in rows, each row as far as some query of "
        "the box sees it";
    return choice;
  }
  rule.headsPerTile = tiling.map.headsPerToken;
  rule.rowsPerBlock = tiling.rowsPerBlock;
  rule.queries[0] = tiling.kernels->panel;
  const Token keyBlock = traitsOf(p).keyBlock;
  rule.keys[0] = keyBlock > 0 ? keyBlock : tiling.shape.keys;
  choice.why = panel + " rows are a panel of vector registers (" + set + ")";
  if (rule.headsPerTile > 1)
    choice.why += ", shared by the " + std::to_string(rule.headsPerTile) + " heads of a KV head";
  choice.why += keyBlock > 0 ? "; keys in the blocks of the pattern" : "; so many keys and values stay in the L2 cache";
  return choice;
}

class CpuBackend final : public Backend {
 public:
  const char* name() const override { return "cpu"; }
  Availability availability() const override { return {true, ""}; }

  std::vector<std::string> supports(const AttentionProblem& p) const override {
    Reasons reasons(kName);
    addReasons(reasons, p, kMaxDim);
    return reasons.all();
  }
  std::vector<std::string> supports(const SelectionProblem& p) const override {
    Reasons reasons(kName);
    reasons.range("headDim", p.headDim, 1, kMaxDim);
    for (int32_t s = 0; s < p.stages; ++s) {
      const Token queries = smaller(p.queries, p.stage[s].blockQueries);
      reasons.range("queries sampled of a block", ceilDiv(queries, p.stage[s].strideQueries), 0, kMaxSampledRows);
    }
    return reasons.all();
  }
  TileChoice tiles(const AttentionProblem& p) const override { return chooseTiles(p); }

  void run(const AttentionProblem& p, const CancelFlag& cancel) override { runHere(p, cancel); }
  void run(const MergeProblem& p, const CancelFlag& cancel) override { runHere(p, cancel); }
  void run(const SelectionProblem& p, const CancelFlag& cancel) override {
    const int threads = flopsOf(p) < kSerialFlops ? 1 : Pool::shared().threads();
    for (int32_t stage = p.firstStage; stage < p.stages && !cancel; ++stage) {
      const auto job = selectionJob(p, stage, activeKernels(), threads);
      job->cancel = &cancel;
      Pool::shared().run(job, threads);
    }
  }
  void submit(const AttentionProblem& p, const CancelFlag& cancel, Completion done) override {
    submitJob(p, cancel, std::move(done));
  }
  void submit(const MergeProblem& p, const CancelFlag& cancel, Completion done) override {
    submitJob(p, cancel, std::move(done));
  }
  void submit(const SelectionProblem& p, const CancelFlag& cancel, Completion done) override {
    if (p.firstStage >= p.stages) return done(nullptr);
    submitStage(std::make_shared<const SelectionProblem>(p), p.firstStage, cancel, std::move(done));
  }

 private:
  // A stage reads what the one before has kept, so each is submitted when that one is done.
  static void submitStage(const std::shared_ptr<const SelectionProblem>& p, int32_t stage, const CancelFlag& cancel,
                          Completion done) {
    Pool& pool = Pool::shared();
    const auto job = selectionJob(*p, stage, activeKernels(), pool.threads());
    job->cancel = &cancel;
    job->done = [p, stage, &cancel, done = std::move(done)](std::exception_ptr error) {
      if (error || cancel || stage + 1 == p->stages) return done(error);
      try {
        submitStage(p, stage + 1, cancel, done);
      } catch (...) {
        done(std::current_exception());
      }
    };
    pool.submit(job);
  }

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

}  // namespace tilewise::cpu
