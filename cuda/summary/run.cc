// Summaries of keys on a GPU: one launch. Reader: the kernel is summarise.h.
#include "run.h"

#include <string>

#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {

void addReasons(Reasons&, const SummaryProblem&, const Limits&) {}

void run(const SummaryProblem& problem, const Limits&, Queue& queue, const CancelFlag& cancel) {
  SummaryParams p{};
  p.problem = problem;
  p.channelBlocks = ceilDiv(problem.headDim, kSummaryThreads);
  launchAll(queue, cancel, "summary", std::string("summary_") + nameOf(problem.type), kSummaryThreads, p, p.firstBlock,
            problem.runCount * problem.heads * p.channelBlocks, 1);
}

}  // namespace tilewise::cuda
