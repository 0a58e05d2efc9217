// What the kernels of summaries are told. Reader: someone who reads a kernel or its launch (run.cc).
#pragma once

#include "../../core/op/summary.h"

namespace tilewise::cuda {

// Threads of a block, each with a channel. Not measured.
constexpr int kSummaryThreads = 64;
// Keys that are loaded before the first of them is needed. Not measured.
constexpr int kSummaryAhead = 8;

struct SummaryParams {
  SummaryProblem problem;
  int32_t channelBlocks;
  int64_t firstBlock;  // of this launch
};

}  // namespace tilewise::cuda
