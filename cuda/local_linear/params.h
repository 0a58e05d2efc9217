// What the kernels of local linear attention are told. Reader: someone who reads a kernel or its launch (run.cc).
//
// An item is 64 queries of a head. A block of threads takes one after another; where it solves for r it has vectors in
// memory: for each row the mean of its keys, r, and those of conjugate gradients. A row is four threads', and element d
// is thread d % 4's; of a vector, element i of a thread is 256 floats behind its element i - 1.
#pragma once

#include "../../core/op/local_linear.h"
#include "tuning.h"

namespace tilewise::cuda {

// Vectors of conjugate gradients, residuals that are kept aside (solve.h has their names).
constexpr int32_t kSolverVectors = 5;

// Where tiles are in shared memory, in bytes from its base.
struct LocalLinearTiles {
  int32_t kept;  // strips of queries and directions that stay; 1: they pass if there are more
  int32_t keyTiles;  // at most kColumnStrips
  int32_t queries, directions, keys, pairs, numbers;
};

struct LocalLinearParams {
  LocalLinearProblem problem;
  bool isQueryAligned, isKeyAligned, isValueAligned;  // rows can be read 16 bytes at a time; queries: corrections, too
  LocalLinearTiles tiles;
  int32_t keptResiduals;
  int64_t items;
  float* vectors;

  TW_HOST_DEVICE int32_t queryTiles() const { return ceilDiv(problem.queries, kChunkTokens); }
  TW_HOST_DEVICE int32_t strips() const { return ceilDiv(problem.headDim, kStripDims); }
  // Of a thread.
  TW_HOST_DEVICE int32_t elements() const { return strips() * (kStripDims / 4); }
  TW_HOST_DEVICE int64_t vectorFloats() const { return int64_t(elements()) * kLinearThreads; }
  // Of a block: vectors, the residuals that are kept, and a number for each row of these.
  TW_HOST_DEVICE int64_t blockFloats() const {
    return vectorFloats() * (kSolverVectors + keptResiduals) + int64_t(keptResiduals) * kLinearThreads;
  }
};

}  // namespace tilewise::cuda
