// The gated delta rule on a GPU: one pass over every sequence. Reader: someone who asks what is launched, or why a
// problem is refused; the kernel is scan.h.
#include "run.h"

#include <string>

#include "../machine/aligned_rows.h"
#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {
namespace {

constexpr int64_t kStripBytes = int64_t(kStripDims) * kStripDims * int64_t(sizeof(float));

// Returns the bytes in all.
int64_t layOut(int32_t headDim, DeltaShape& shape) {
  const int64_t strips = ceilDiv(headDim, kStripDims);
  int64_t at = 0;
  const auto take = [&](int64_t bytes) {
    at += bytes;
    return int32_t(at - bytes);
  };
  shape.pairs = take(kStripBytes);
  shape.taken = take(kStripBytes);
  shape.keys = take(strips * kStripBytes);
  shape.states = take(strips * kStripBytes);
  shape.rows = take(kChunkRowsBytes);
  return at;
}

int32_t chunkOf(const DeltaProblem& problem) {
  return problem.chunk > 0 ? smaller(problem.chunk, kChunkTokens) : kChunkTokens;
}

}  // namespace

void addReasons(Reasons& reasons, const DeltaProblem& problem, const Limits& limits) {
  const int64_t strips = (limits.sharedBytesPerBlock - kChunkRowsBytes) / kStripBytes - 2;
  reasons.range("headDim", problem.headDim, 1, int32_t(strips / 2 * kStripDims),
                " of the gated delta rule on this device");
}

LinearPasses passesOf(const DeltaProblem& problem, const Limits&) {
  return {chunkOf(problem), 1, false, problem.bytesOf(ceilDiv(problem.valueDim, kDeltaColumns))};
}

void run(const DeltaProblem& problem, const Limits&, Queue& queue, const CancelFlag& cancel) {
  DeltaParams p{};
  p.problem = problem;
  p.isQueryAligned = hasAlignedRows(problem.query, problem.dtype);
  p.isKeyAligned = hasAlignedRows(problem.key, problem.dtype);
  p.isValueAligned = hasAlignedRows(problem.value, problem.dtype);
  p.chunk = chunkOf(problem);
  p.columnBlocks = ceilDiv(problem.valueDim, kDeltaColumns);
  const int64_t bytes = layOut(problem.headDim, p.shape);
  const int64_t tasks = int64_t(problem.sequences) * problem.valueHeads;
  launchAll(queue, cancel, "delta", std::string("delta_") + nameOf(problem.dtype), kLinearThreads, p, p.firstBlock,
            tasks * p.columnBlocks, 1, bytes);
}

}  // namespace tilewise::cuda
