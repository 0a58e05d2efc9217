// What the kernels of the gated delta rule are told. Reader: someone who reads a kernel or its launches (run.cc).
// A block of threads has a sequence, a value head and 64 columns of its values and state, chunk after chunk: what a
// token takes up depends on the state before it. Keys and state stay in shared memory.
#pragma once

#include "../../core/op/delta.h"
#include "../linear/tuning.h"

namespace tilewise::cuda {

constexpr int kDeltaColumns = 64;

// Where things are in shared memory, in bytes from its base. `pairs`: a strip of queries, or pairs of tokens.
struct DeltaShape {
  int32_t pairs, taken, keys, states, rows;
};

struct DeltaParams {
  DeltaProblem problem;  // cuSeqlens: on the device
  bool isQueryAligned, isKeyAligned, isValueAligned;  // rows can be read 16 bytes at a time
  int32_t chunk, columnBlocks;
  int64_t firstBlock;  // of this launch
  DeltaShape shape;
};

}  // namespace tilewise::cuda
