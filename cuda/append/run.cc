// Appending on a GPU. Reader: someone who asks how rows are moved; the kernel is append_rows.h.
#include "run.h"

#include <string>

#include "../machine/aligned_rows.h"
#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {
namespace {

bool isWhole(const AppendedRows& rows, DType type) {
  return rows.dim == 0 ||
         (rows.dim * sizeOf(type) % 16 == 0 && hasAlignedRows(rows.from, type) && hasAlignedRows(rows.to, type));
}

}  // namespace

void addReasons(Reasons& reasons, const AppendProblem& p, const Limits&) {
  const auto isElsewhere = [](const AppendedRows& rows) { return rows.dim > 0 && !rows.to.isOnDevice; };
  if (isElsewhere(p.keys) || isElsewhere(p.values)) reasons.add("the pages are not in the device's memory");
}

void run(const AppendProblem& problem, const Limits&, Queue& queue, const CancelFlag& cancel) {
  AppendParams p{};
  p.problem = problem;
  p.copiesWhole =
      problem.from == problem.to && isWhole(problem.keys, problem.to) && isWhole(problem.values, problem.to);
  const int64_t rows = problem.rows() * problem.heads;
  launchAll(queue, cancel, "append", std::string("append_") + nameOf(problem.to), kAppendThreads, p, p.firstRow, rows,
            kAppendWarps);
}

}  // namespace tilewise::cuda
