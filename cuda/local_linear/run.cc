// Local linear attention on a GPU: one launch. Reader: someone who asks what memory it takes; the kernel is solve.h.
#include "run.h"

#include <string>

#include "../machine/aligned_rows.h"
#include "../machine/launch_all.h"
#include "params.h"

namespace tilewise::cuda {
namespace {

constexpr int64_t kTileBytes = int64_t(kChunkTokens) * kStripDims * int64_t(sizeof(float));
constexpr int64_t kNumberBytes = 7 * int64_t(kChunkTokens) * int64_t(sizeof(float));

// Returns the bytes in all.
int64_t layOut(const LocalLinearProblem& problem, const Limits& limits, LocalLinearTiles& tiles) {
  const auto stripsOf = [](int32_t dims) { return int64_t(ceilDiv(dims, kStripDims)); };
  const int64_t strips = stripsOf(problem.headDim);
  tiles.keyTiles = int32_t(smaller<int64_t>(kColumnStrips, larger(strips, stripsOf(problem.valueDim))));
  const int64_t others = (1 + tiles.keyTiles) * kTileBytes + kNumberBytes;
  tiles.kept = others + 2 * strips * kTileBytes <= limits.sharedBytesPerBlock ? int32_t(strips) : 1;
  int64_t at = 0;
  const auto take = [&](int64_t bytes) {
    at += bytes;
    return int32_t(at - bytes);
  };
  tiles.queries = take(tiles.kept * kTileBytes);
  tiles.directions = take(tiles.kept * kTileBytes);
  tiles.keys = take(tiles.keyTiles * kTileBytes);
  tiles.pairs = take(kTileBytes);
  tiles.numbers = take(kNumberBytes);
  return at;
}

}  // namespace

void addReasons(Reasons&, const LocalLinearProblem&, const Limits&) {}

void run(const LocalLinearProblem& problem, const Limits& limits, Queue& queue, const CancelFlag& cancel) {
  LocalLinearParams p{};
  p.problem = problem;
  p.isQueryAligned = hasAlignedRows(problem.query, problem.dtype) &&
                     (problem.isSolved() || hasAlignedRows(problem.correction, problem.dtype));
  p.isKeyAligned = hasAlignedRows(problem.key, problem.dtype);
  p.isValueAligned = hasAlignedRows(problem.value, problem.dtype);
  const int64_t bytes = layOut(problem, limits, p.tiles);
  p.items = int64_t(problem.batch) * problem.queryHeads * p.queryTiles();
  int64_t blocks = smaller<int64_t>(p.items, kMaxBlocks);
  if (problem.isSolved()) {
    blocks = smaller<int64_t>(blocks, limits.multiprocessors);  // each has vectors of its own
    p.keptResiduals = smaller(kMostKeptResiduals, smaller(problem.iterations, problem.headDim));
    p.vectors = static_cast<float*>(queue.allocate(blocks * p.blockFloats() * int64_t(sizeof(float))));
  }
  int64_t first = 0;
  launchAll(queue, cancel, "local_linear", std::string("local_linear_") + nameOf(problem.dtype), kLinearThreads, p,
            first, blocks, 1, bytes);
}

}  // namespace tilewise::cuda
