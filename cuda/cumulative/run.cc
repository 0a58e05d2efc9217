// cumulativeAttention on a GPU: one pass over the tokens, or sums of groups, a carry, and outputs.
// Reader: someone who asks when tokens are divided; the kernels are scan_tokens.h.
#include "run.h"

#include <string>

#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {
namespace {

CumulativeParams divide(const CumulativeProblem& problem, const Limits& limits) {
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
  return p;
}

}  // namespace

void addReasons(Reasons&, const CumulativeProblem&, const Limits&) {}

LinearPasses passesOf(const CumulativeProblem& problem, const Limits& limits) {
  const CumulativeParams p = divide(problem, limits);
  const double size = double(sizeOf(problem.dtype)), tasks = double(p.tasks), floats = sizeof(float);
  const double scores = tasks * problem.tokens * floats, values = tasks * problem.tokens * problem.valueDim * size;
  // Every block of columns follows the scores.
  LinearPasses passes{kCumulativeChunkTokens, p.groups, p.isSplit, 0};
  passes.bytes = problem.operandBytes() + (p.columnBlocks - 1) * scores;
  if (!p.isSplit) return passes;
  // Sums of groups are written, carried on and read; those of the last only where a state is left.
  const Token last = problem.after.max ? 0 : problem.tokens - (p.groups - 1) * p.groupTokens;
  const double again = problem.tokens == 0 ? 0 : 1 - double(last) / problem.tokens;
  passes.bytes += again * (p.columnBlocks * scores + values) + 4 * tasks * p.groups * double(p.slotFloats()) * floats;
  return passes;
}

void run(const CumulativeProblem& problem, const Limits& limits, Queue& queue, const CancelFlag& cancel) {
  CumulativeParams p = divide(problem, limits);
  const int64_t blocks = p.tasks * p.columnBlocks;
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
