// mergeAttention on a GPU. Reader: someone who asks which rows are read how; the kernel is merge_rows.h.
#include "run.h"

#include <algorithm>
#include <string>

#include "../machine/aligned_rows.h"
#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {

void addReasons(Reasons&, const MergeProblem&, const Limits&) {}

void run(const MergeProblem& problem, const Limits&, Queue& queue, const CancelFlag& cancel) {
  MergeParams p{};
  p.heads = problem.heads;
  p.queries = problem.queries;
  p.rows = int64_t(problem.batch) * problem.heads * problem.queries;
  p.valueDim = problem.valueDim;
  p.out = problem.out;
  p.lse = problem.lse;
  p.lseBatch = problem.lseBatch;
  p.lseHead = problem.lseHead;
  p.lseToken = problem.lseToken;
  p.sinks = problem.sinks;
  p.sinksHead = problem.sinksHead;
  p.isAligned = hasAlignedRows(problem.out, problem.dtype);
  for (const MergePart& part : problem.parts) p.isAligned &= hasAlignedRows(part.out, problem.dtype);
  p.count = int32_t(problem.parts.size());
  if (p.count <= kInlineParts) {
    std::copy(problem.parts.begin(), problem.parts.end(), p.inlined);
  } else {
    const int64_t bytes = p.count * int64_t(sizeof(MergePart));
    void* const memory = queue.allocate(bytes);
    queue.upload(memory, problem.parts.data(), bytes);
    p.memory = static_cast<const MergePart*>(memory);
  }

  launchAll(queue, cancel, "merge", std::string("merge_") + nameOf(problem.dtype), kMergeThreads, p, p.firstRow, p.rows,
            kMergeWarps);
}

}  // namespace tilewise::cuda
