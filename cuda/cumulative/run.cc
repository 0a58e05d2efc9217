// cumulativeAttention on a GPU: one pass over the tokens, or sums of groups, a carry, and outputs.
// Reader: someone who asks when tokens are divided; the kernels are scan_tokens.h.
#include "run.h"

#include <string>

#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {

void addReasons(Reasons&, const CumulativeProblem&, const Limits&) {}

void run(const CumulativeProblem& problem, const Limits& limits, Queue& queue, const CancelFlag& cancel) {
  CumulativeParams p{};
  p.problem = problem;
  p.tasks = int64_t(problem.batch) * problem.heads;
  p.columnBlocks = ceilDiv(problem.valueDim, kCumulativeThreads);
  const int64_t enough = kCumulativeBlocks * limits.multiprocessors, blocks = p.tasks * p.columnBlocks;
  const int64_t most = clamp<int64_t>(enough / larger<int64_t>(blocks, 1), 1, kMostCumulativeGroups);
  p.groupTokens = larger(kLeastCumulativeGroup, Token(ceilDiv<int64_t>(problem.tokens, most)));
  p.groupTokens = ceilDiv(p.groupTokens, kCumulativeChunkTokens) * kCumulativeChunkTokens;
  p.groups = larger(1, ceilDiv(problem.tokens, p.groupTokens));
  // A state that is overwritten is read by the blocks of all columns.
  const bool isOverwritten = problem.after.max && problem.after.max.data == problem.before.max.data;
  p.isSplit = p.groups > 1 || (isOverwritten && p.columnBlocks > 1);

  const auto launch = [&](const std::string& kernel, int64_t work) {
    p.firstBlock = 0;
    launchAll(queue, cancel, "cumulative", kernel, kCumulativeThreads, p, p.firstBlock, work, 1);
  };
  const std::string type = nameOf(problem.dtype);
  if (p.isSplit) {
    p.slots = static_cast<float*>(queue.allocate(2 * p.tasks * p.groups * p.slotFloats() * int64_t(sizeof(float))));
    launch("cumulative_sums_" + type, blocks * p.groups);
    launch("cumulative_carry", p.tasks);
  }
  const bool writesState = !p.isSplit && problem.after.max;  // without tokens, too
  if (problem.out.data || writesState) launch("cumulative_outputs_" + type, blocks * p.groups);
}

}  // namespace tilewise::cuda
