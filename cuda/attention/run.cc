// runAttention(): a plan's launches. Reader: someone who reads operations.h.
#include <vector>

#include "../operations.h"
#include "plan.h"

namespace tilewise::gpu {
namespace {

constexpr int64_t kMaxBlocks = 0x7fffffff;

void launch(Queue& queue, const AttentionPlan& plan, const char* module, const std::string& kernel, int64_t blocks,
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

}  // namespace

void runAttention(const Problem& problem, const Problem& lengths, const Limits&, Queue& queue,
                  const CancelFlag& cancel) {
  AttentionPlan plan = planAttention(problem, lengths);
  AttentionParams& params = plan.params;
  const Problem& p = params.problem;
  if (lengths.cuQueries) {
    std::vector<int32_t> starts(size_t(p.sequences) + 1);
    for (int32_t s = 0; s < p.sequences; ++s) {
      const int64_t rows = params.map.rows(lengths.cuQueries[s + 1] - lengths.cuQueries[s]);
      starts[s + 1] = starts[s] + int32_t(ceilDiv<int64_t>(rows, plan.rows));
    }
    void* const device = queue.allocate(int64_t(starts.size()) * 4);
    queue.upload(device, starts.data(), int64_t(starts.size()) * 4);
    params.tileStarts = static_cast<const int32_t*>(device);
  }
  const int64_t rows = int64_t(p.sequences) * p.outputHeads() * params.longestQueries;
  if (params.splits > 1) {
    params.partialStates = static_cast<AttentionParams::State*>(
        queue.allocate(rows * params.splits * int64_t(sizeof(AttentionParams::State))));
    params.partialOutputs = static_cast<float*>(queue.allocate(rows * params.splits * p.valueDim * 4));
  }
  const std::string module = std::string("attention_") + nameOf(p.dtype);
  launch(queue, plan, module.c_str(), plan.kernel(), plan.tilesOfAll * params.maps * params.splits,
         32 * plan.sizes.warps, sharedPlan(int(sizeOf(p.dtype)), plan.dim, plan.way).bytes);
  if (params.splits == 1 || cancel) return;
  launch(queue, plan, module.c_str(), std::string("attention_combine_") + nameOf(p.dtype), rows, kCombineThreads, 0);
}

TileChoice tilesFor(const Problem& problem) { return tilesOf(planAttention(problem, problem), problem.grid.rank); }

std::vector<std::string> reasonsAgainst(const Problem& p, const Limits& limits) {
  std::vector<std::string> reasons;
  const auto range = [&](const char* what, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high) return;
    reasons.push_back(std::string(what) + " is " + std::to_string(value) + ", the CUDA backend takes " +
                      std::to_string(low) + " to " + std::to_string(high));
  };
  range("headDim", p.headDim, 1, kMaxDim);
  range("valueDim", p.valueDim, 1, kMaxDim);
  range("queries", p.queries, 0, kMaxTokens);
  range("keys", p.keys, 0, kMaxTokens);
  if (p.pageSize > 0 && p.pattern != PatternKind::window) {
    reasons.push_back("pages go with windows, not with other patterns");
  }
  if (limits.computeCapability > 0 && limits.computeCapability < 80) {
    reasons.push_back("the GPU has compute capability " + std::to_string(limits.computeCapability / 10) + "." +
                      std::to_string(limits.computeCapability % 10) + ", the kernels need 8.0");
  }
  return reasons;
}

}  // namespace tilewise::gpu
