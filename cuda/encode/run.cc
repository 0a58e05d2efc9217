// Codes on a GPU: a launch for rows, one for blocks that lose bits. Reader: the kernels are encode_rows.h and
// narrow_blocks.h.
#include "run.h"

#include <string>

#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {

void addReasons(Reasons& reasons, const EncodeProblem& p, const Limits&) {
  if (!p.to.data.isOnDevice || (p.narrowedCount > 0 && !p.wide.data.isOnDevice))
    reasons.add("the codes are not in the device's memory");
}

void run(const EncodeProblem& problem, const Limits&, Queue& queue, const CancelFlag& cancel) {
  EncodeParams p{};
  p.problem = problem;
  launchAll(queue, cancel, "encode", std::string("encode_") + nameOf(problem.type), kEncodeThreads, p, p.firstBlock,
            (problem.keyRunCount + problem.valueRunCount) * problem.heads, 1);
  p.firstBlock = 0;
  launchAll(queue, cancel, "encode", "encode_narrowed", kEncodeThreads, p, p.firstBlock,
            2 * problem.narrowedCount * problem.heads, 1);
}

}  // namespace tilewise::cuda
