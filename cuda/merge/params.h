// What the merge kernels are told. Reader: someone who reads a kernel or its launches (run.cc).
#pragma once

#include "../../core/op/merge.h"
#include "tuning.h"

namespace tilewise::cuda {

struct MergeParams {
  int32_t heads;
  Token queries;
  int64_t rows;  // [batch][query][head]
  int64_t firstRow;  // of this launch
  int32_t valueDim;
  bool isAligned;  // all rows can be read and written 16 bytes at a time
  Operand out;
  float* lse;
  int64_t lseBatch, lseHead, lseToken;
  const float* sinks;
  int64_t sinksHead;
  int32_t count;
  const MergePart* memory;
  MergePart inlined[kInlineParts];

  TW_HOST_DEVICE const float* sink(int64_t head) const { return sinks ? sinks + head * sinksHead : nullptr; }
  TW_HOST_DEVICE const MergePart* parts() const { return count <= kInlineParts ? inlined : memory; }
};

}  // namespace tilewise::cuda
