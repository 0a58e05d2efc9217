// A plan's launches. Reader: someone who reads run.h.
#include "run.h"

#include <vector>

#include "launch_plan.h"

namespace tilewise::cuda {
namespace {

void launch(Queue& queue, const LaunchPlan& plan, const char* module, const std::string& kernel, int64_t blocks,
            int threads, int sharedBytes) {
  if (blocks > kMaxBlocks) {
    throw BackendError(
        "ERR_TILEWISE_UNSUPPORTED",
        "the call needs " + std::to_string(blocks) + " blocks of threads, a launch has " + std::to_string(kMaxBlocks));
  }
  if (blocks == 0) return;
  Launch launch{};
  launch.module = module;
  launch.kernel = kernel.c_str();
  launch.blocks = uint32_t(blocks);
  launch.threads = uint32_t(threads);
  launch.sharedBytes = uint32_t(sharedBytes);
  launch.params = &plan.params;
  launch.paramBytes = sizeof(plan.params);
  queue.launch(launch);
}

void runPlan(PlannedSequences& planned, const AttentionProblem& lengths, Queue& queue, const CancelFlag& cancel) {
  LaunchPlan& plan = planned.plan;
  AttentionParams& params = plan.params;
  const AttentionProblem& p = params.problem;
  int64_t tiles = int64_t(params.tiles) * p.sequences;
  if (lengths.cuSeqlensQ) {
    std::vector<int64_t> starts(size_t(p.sequences) + 1);
    for (const int32_t s : planned.sequences) {
      starts[size_t(s) + 1] = plan.tilesOf(lengths.cuSeqlensQ[s + 1] - lengths.cuSeqlensQ[s]);
    }
    for (size_t s = 0; s < size_t(p.sequences); ++s) starts[s + 1] += starts[s];
    tiles = starts.back();
    const int64_t bytes = int64_t(starts.size() * sizeof(starts[0]));
    void* const device = queue.allocate(bytes);
    queue.upload(device, starts.data(), bytes);
    params.tileStarts = static_cast<const int64_t*>(device);
  }
  const int64_t rows = int64_t(p.sequences) * p.outputHeads() * params.longestQueries;
  if (params.splits > 1) {
    params.partialStates = static_cast<AttentionParams::State*>(
        queue.allocate(rows * params.splits * int64_t(sizeof(AttentionParams::State))));
    params.partialOutputs = static_cast<float*>(queue.allocate(rows * params.splits * p.valueDim * 4));
  }
  const std::string module = std::string("attention_") + nameOf(p.dtype);
  launch(queue, plan, module.c_str(), plan.kernel(), tiles * params.maps * params.splits, 32 * plan.sizes.warps,
         sharedLayout(int(sizeOf(p.dtype)), plan.dim, plan.feed).bytes);
  if (params.splits == 1 || cancel) return;
  launch(queue, plan, module.c_str(), std::string("attention_combine_") + nameOf(p.dtype), rows, kCombineThreads, 0);
}

}  // namespace

void run(const StagedAttention& staged, const Limits&, Queue& queue, const CancelFlag& cancel) {
  for (PlannedSequences& planned : planSequences(staged.problem, staged.lengths)) {
    if (!cancel) runPlan(planned, staged.lengths, queue, cancel);
  }
}

TileChoice tilesFor(const AttentionProblem& problem) {
  return tilesOf(planLaunch(problem, problem.queries, problem.keys), problem.grid.rank);
}

void addReasons(Reasons& reasons, const AttentionProblem& problem, const Limits& limits) {
  addReasons(reasons, problem, kMaxDim);
  if (limits.computeCapability > 0 && limits.computeCapability < 80) {
    reasons.add("the GPU has compute capability " + std::to_string(limits.computeCapability / 10) + "." +
                std::to_string(limits.computeCapability % 10) + ", the kernels need 8.0");
  }
}

}  // namespace tilewise::cuda
