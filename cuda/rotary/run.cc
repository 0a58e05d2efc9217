// rotate() on a GPU. Reader: someone who asks which rows are read how; the kernel is rotate_rows.h.
#include "run.h"

#include <string>

#include "../machine/aligned_rows.h"
#include "../machine/launch_all.h"

namespace tilewise::cuda {

void addReasons(Reasons&, const RotaryProblem&, const Limits&) {}

void run(const StagedRotary& staged, const Limits&, Queue& queue, const CancelFlag& cancel) {
  const RotaryProblem& problem = staged.problem;
  const int32_t perPiece = int32_t(16 / sizeOf(problem.dtype)), rotated = 2 * problem.pairs;
  RotaryParams p{};
  p.heads = problem.heads;
  p.tokens = problem.tokens;
  p.headDim = problem.headDim;
  p.pairs = problem.pairs;
  p.isInterleaved = problem.isInterleaved;
  p.in = problem.in;
  p.out = problem.out;
  p.rotations = staged.rotations;
  // Partners are a piece apart, or neighbours within one.
  const int32_t first = problem.isInterleaved ? rotated : problem.pairs;
  p.isAligned =
      first % perPiece == 0 && hasAlignedRows(problem.in, problem.dtype) && hasAlignedRows(problem.out, problem.dtype);
  p.rotatedPieces = ceilDiv(first, perPiece);
  p.pieces = p.rotatedPieces + (problem.isInPlace() ? 0 : ceilDiv(problem.headDim - rotated, perPiece));
  p.work = int64_t(problem.batch) * problem.tokens * problem.heads * p.pieces;

  launchAll(queue, cancel, "rotary", std::string("rotary_") + nameOf(problem.dtype), kRotaryThreads, p, p.firstPiece,
            p.work, kRotaryThreads);
}

}  // namespace tilewise::cuda
