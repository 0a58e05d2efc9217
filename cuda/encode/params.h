// What the kernels of codes are told. Reader: someone who reads a kernel or its launches (run.cc).
#pragma once

#include "../../core/op/encode.h"

namespace tilewise::cuda {

// Threads of a block, which has a run of rows, or a block of codes that loses bits, of one head. Not measured.
constexpr int kEncodeThreads = 128;

struct EncodeParams {
  EncodeProblem problem;
  int64_t firstBlock;  // of this launch
};

}  // namespace tilewise::cuda
