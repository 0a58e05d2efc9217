// What the kernels of cumulative attention are told. Reader: someone who reads a kernel or its launches (run.cc).
//
// A task is a head of a batch entry. Where its tokens are divided into groups, there are two slots for each: for the
// state that it leaves when it begins with nothing, and for the one that it begins with.
#pragma once

#include "../../core/op/cumulative.h"
#include "tuning.h"

namespace tilewise::cuda {

struct CumulativeParams {
  CumulativeScan problem;
  int64_t tasks;
  int32_t columnBlocks, groups;
  Token groupTokens;
  bool isSplit;
  int64_t firstBlock;  // of this launch
  float* slots;

  // Of a slot: max, sum, and weighted values.
  TW_HOST_DEVICE int64_t slotFloats() const { return 2 + int64_t(problem.valueDim); }
  TW_HOST_DEVICE float* left(int64_t task, int64_t group) const {
    return slots + (task * groups + group) * slotFloats();
  }
  TW_HOST_DEVICE float* begin(int64_t task, int64_t group) const { return left(tasks + task, group); }
};

}  // namespace tilewise::cuda
