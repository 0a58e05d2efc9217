// A plan's launches. Reader: someone who reads run.h.
#include "run.h"

#include <string>
#include <vector>

#include "../../core/score/effect.h"
#include "../machine/launch_all.h"
#include "launch_plan.h"
#include "write_lengths.h"

namespace tilewise::cuda {
namespace {

// One plan's launches. Constructing it does nothing yet, but throws where a launch has no room for its blocks: a call
// is refused as a whole, before its first launch.
class PlanRun {
 public:
  PlanRun(const PlannedSequences& planned, const AttentionProblem& lengths) : plan_(planned.plan) {
    const AttentionParams& params = plan_.params;
    const AttentionProblem& p = params.problem;
    if (lengths.cuSeqlensQ) {
      tileStarts_.resize(size_t(p.sequences) + 1);
      for (const int32_t s : planned.sequences) {
        tileStarts_[size_t(s) + 1] = plan_.tilesOf(lengths.cuSeqlensQ[s + 1] - lengths.cuSeqlensQ[s]);
      }
      for (size_t s = 0; s < size_t(p.sequences); ++s) tileStarts_[s + 1] += tileStarts_[s];
    }
    const int64_t tiles = lengths.cuSeqlensQ ? tileStarts_.back() : plan_.tilesOf(p.queries) * p.sequences;
    blocks_ = tiles * params.maps * params.splits;
    if (params.splits > 1) rows_ = int64_t(p.sequences) * p.outputHeads() * params.longestQueries;
    if (const int64_t most = larger(blocks_, rows_); most > kMaxBlocks) {
      throw BackendError(
          "ERR_TILEWISE_UNSUPPORTED",
          "the call needs " + std::to_string(most) + " blocks of threads, a launch has " + std::to_string(kMaxBlocks));
    }
    planEffects(lengths, tiles);
  }

  void run(const Cosine& cosine, Queue& queue, const CancelFlag& cancel) {
    AttentionParams& params = plan_.params;
    params.problem.cosine = cosine;
    const AttentionProblem& p = params.problem;
    if (!tileStarts_.empty()) {
      const int64_t bytes = int64_t(tileStarts_.size() * sizeof(tileStarts_[0]));
      void* const device = queue.allocate(bytes);
      queue.upload(device, tileStarts_.data(), bytes);
      params.tileStarts = static_cast<const int64_t*>(device);
    }
    if (params.splits > 1) {
      params.partialStates = static_cast<AttentionParams::State*>(
          queue.allocate(rows_ * params.splits * int64_t(sizeof(AttentionParams::State))));
      params.partialOutputs = static_cast<float*>(queue.allocate(rows_ * params.splits * p.valueDim * 4));
    }
    noteEffects(queue, cancel);
    if (cancel) return;
    launch(queue, plan_.kernel(), blocks_, 32 * plan_.sizes.warps,
           sharedBytes(int(sizeOf(p.dtype)), plan_.dim, plan_.feed, plan_.valueDim));
    if (params.splits == 1 || cancel) return;
    launch(queue, "attention_combine_" + type(), rows_, kCombineThreads, 0);
  }

 private:
  // `tiles`: of one map, of all sequences.
  void planEffects(const AttentionProblem& lengths, int64_t tiles) {
    const AttentionProblem& p = plan_.params.problem;
    EffectTable& table = plan_.params.effects;
    bool areAny = false, isPerHead = false;
    table.isPerSequence = p.cuSeqlensQ || p.keyLengths;
    p.rules.forEach([&](const auto& rule) {
      if constexpr (hasVisibleEffect<std::decay_t<decltype(rule)>>()) {
        if (!rule.isPresent()) return;
        areAny = true;
        isPerHead |= rule.head != 0;
        table.isPerSequence |= rule.batch != 0;
      }
    });
    if (!areAny || tiles == 0) return;
    if (!table.isPerSequence) tiles /= p.sequences;
    if (isPerHead) table.maps = plan_.params.maps;
    table.pitch = ceilDiv(lengths.longestKeys(), EffectTable::kPieces * kEffectKeys);
    effects_ = tiles * table.maps * table.pitch;
  }
  void noteEffects(Queue& queue, const CancelFlag& cancel) {
    if (effects_ == 0) return;
    EffectTable& table = plan_.params.effects;
    table.groups = static_cast<EffectTable::Group*>(queue.allocate(effects_ * int64_t(sizeof *table.groups)));
    EffectParams params{plan_.params, plan_.rows, 0, effects_};
    params.attention.maps = table.maps;
    params.attention.splits = 1;
    const std::string queries = traitsOf(params.attention.problem).isGrid ? "grid" : "tokens";
    launchAll(queue, cancel, module().c_str(), "attention_effects_" + queries + "_" + type(), kEffectThreads, params,
              params.first, params.count, kEffectThreads / 32);
  }

  std::string type() const { return nameOf(plan_.params.problem.dtype); }
  std::string module() const { return "attention_" + type(); }
  void launch(Queue& queue, const std::string& kernel, int64_t blocks, int threads, int sharedBytes) const {
    if (blocks == 0) return;
    const std::string image = module();
    Launch launch{};
    launch.module = image.c_str();
    launch.kernel = kernel.c_str();
    launch.blocks = uint32_t(blocks);
    launch.threads = uint32_t(threads);
    launch.sharedBytes = uint32_t(sharedBytes);
    launch.params = &plan_.params;
    launch.paramBytes = sizeof plan_.params;
    queue.launch(launch);
  }

  LaunchPlan plan_;
  std::vector<int64_t> tileStarts_;  // packed: tiles of one map before each sequence
  int64_t blocks_;  // of threads
  int64_t rows_ = 0;  // where keys are split: rows to combine, a block each
  int64_t effects_ = 0;  // groups of the table of what score rules do
};

// A problem of some of another's columns of values, from `first` on. Those from 0 on have its lse.
AttentionProblem columnsOf(const AttentionProblem& whole, int32_t first) {
  AttentionProblem p = whole;
  p.valueDim = smaller(kWideColumns, whole.valueDim - first);
  if (first > 0) p.lse = nullptr;
  for (Operand* rows : {&p.value, &p.extraValues, &p.out}) {
    if (rows->data) rows->data = static_cast<char*>(rows->data) + first * rows->dim * sizeOf(p.dtype);
  }
  return p;
}

}  // namespace

void run(const StagedAttention& staged, const Limits&, Queue& queue, const CancelFlag& cancel) {
  std::vector<PlanRun> runs;
  for (int32_t first = 0; first < staged.problem.valueDim; first += kWideColumns) {
    for (PlannedSequences& planned : planSequences(columnsOf(staged.problem, first), staged.lengths)) {
      planned.plan.params.firstColumn = first;
      runs.emplace_back(planned, staged.lengths);
    }
  }
  const Cosine cosine = writeLengths(staged, queue, cancel);
  for (PlanRun& run : runs) {
    if (!cancel) run.run(cosine, queue, cancel);
  }
}

TileChoice tilesFor(const AttentionProblem& problem) {
  AttentionProblem p = columnsOf(problem, 0);
  p.ranges.tileQueries = kRangeQueries;
  return tilesOf(planLaunch(p, p.queries, p.keys), p.grid.rank);
}

void addReasons(Reasons& reasons, const AttentionProblem& problem, const Limits& limits) {
  addReasons(reasons, problem, kMaxDim, kMaxDim);
  if (limits.computeCapability > 0 && limits.computeCapability < 80) {
    reasons.add("the GPU has compute capability " + std::to_string(limits.computeCapability / 10) + "." +
                std::to_string(limits.computeCapability % 10) + ", the kernels need 8.0");
  }
}

}  // namespace tilewise::cuda
