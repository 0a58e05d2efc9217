// See plan.h.

#include "plan.h"

#include <initializer_list>

namespace tilewise::cuda {
namespace {

constexpr int64_t kStripBytes = int64_t(kStripDims) * kStripDims * int64_t(sizeof(float));

}  // namespace

LinearPlan::LinearPlan(const LinearProblem& problem, const Limits& limits)
    : tasks(int64_t(problem.sequences) * problem.kvHeads),
      isWanted(problem.state || problem.normalizer),
      p_(problem),
      slotFloats_(int64_t(problem.features()) * (problem.valueDim + 1) + 1) {
  chunk = p_.chunk > 0 ? smaller(p_.chunk, kChunkTokens) : kChunkTokens;
  shapeStates(limits.sharedBytesPerBlock);
  columnBlocks = ceilDiv(p_.valueDim, columns);
  divide(limits.multiprocessors);
}

// All columns that a kernel can have, if the state then stays in shared memory: queries and keys are read once per
// block of columns.
void LinearPlan::shapeStates(int64_t room) {
  const bool isWide = p_.valueDim > kStripDims;
  fits = (isWide && shapeFor(128, room, true)) || shapeFor(64, room, true) || (isWide && shapeFor(128, room, false)) ||
         shapeFor(64, room, false);
}

bool LinearPlan::shapeFor(int columnsPerBlock, int64_t room, bool isResident) {
  const int32_t strips = ceilDiv(p_.headDim, kStripDims), featureStrips = ceilDiv(p_.features(), kStripDims);
  const int64_t wide = columnsPerBlock / kStripDims * kStripBytes;
  columns = columnsPerBlock;
  shape.isResident = isResident;
  shape.stateTiles = isResident ? featureStrips : 1;
  for (const int32_t keyTiles : {strips, 1}) {
    int64_t at = 0;
    const auto take = [&](int64_t bytes) {
      at += bytes;
      return int32_t(at - bytes);
    };
    shape.keyTiles = keyTiles;
    shape.queries = take(kStripBytes);
    shape.features = p_.featureMap == FeatureMap::taylor2 ? take(kStripBytes) : shape.queries;
    shape.keys = take(keyTiles * kStripBytes);
    shape.values = take(wide);
    shape.states = take(shape.stateTiles * wide);
    shape.normalizer = take(p_.isNormalized ? int64_t(featureStrips) * kStripDims * int64_t(sizeof(float)) : 0);
    shape.rows = take(kChunkRowsBytes);
    sharedBytes = at;
    if (at <= room) return true;
  }
  return false;
}

// Heads and columns fill the machine, or tokens are divided, too: into groups of whole chunks.
void LinearPlan::divide(int64_t multiprocessors) {
  const int64_t longest = p_.longestSequence(), blocks = tasks * columnBlocks;
  const int64_t least = larger<int64_t>(kLeastGroupTokens, ceilDiv(longest, kMostLinearGroups));
  groupTokens = Token(ceilDiv<int64_t>(least, chunk) * chunk);
  const auto groupsOf = [&](int64_t tokens) {
    return int32_t(larger<int64_t>(1, ceilDiv<int64_t>(tokens, groupTokens)));
  };
  groups = groupsOf(longest);
  outputGroups = p_.isCausal ? groups : groupsOf(p_.queries);
  // A normalizer that is overwritten is read by the blocks of all columns.
  const bool isOverwritten = p_.normalizer && p_.normalizer.data == p_.normalizerIn.data && columnBlocks > 1;
  isSplit = !p_.isCausal || isOverwritten || (groups > 1 && blocks < multiprocessors);
  if (isSplit) return;
  groups = outputGroups = 1;
  groupTokens = larger<Token>(chunk, Token(longest));
}

double LinearPlan::bytes() const {
  const double size = double(sizeOf(p_.dtype)), batch = double(p_.batch), floats = sizeof(float);
  const double query = batch * p_.queries * p_.queryHeads * p_.headDim * size;
  const double out = batch * p_.queries * p_.queryHeads * p_.valueDim * size;
  const double key = batch * p_.keys * p_.kvHeads * p_.headDim * size;
  const double value = batch * p_.keys * p_.kvHeads * p_.valueDim * size;
  const double state = double(tasks) * double(slotFloats_) * floats, heads = p_.headsPerState();
  const double chunks = double(ceilDiv<int64_t>(p_.keys, chunk));
  const bool areKeysResident = shape.keyTiles == ceilDiv(p_.headDim, kStripDims);
  // Keys that do not stay are read for each query head and once more for the state; so are states.
  const double keyReads = areKeysResident ? 1 : heads + 1;
  const double stateMoves = shape.isResident ? 0 : state * chunks;
  double all = columnBlocks * query + out + stateMoves * heads;
  if (p_.isCausal) all += columnBlocks * key * keyReads + value + stateMoves * 2;
  if (isSplit) {
    all += columnBlocks * key + value + stateMoves * 2;
    all += state * groups * 3 + state * outputGroups;  // written, carried, and read
  }
  return all + (p_.stateIn ? state : 0) + (p_.state ? state : 0);
}

}  // namespace tilewise::cuda
