// What the append kernels are told. Reader: someone who reads a kernel or its launches (run.cc).
#pragma once

#include "../../core/op/append.h"
#include "tuning.h"

namespace tilewise::cuda {

struct AppendParams {
  AppendProblem problem;
  int64_t firstRow;  // of this launch, of [batch][token][head]
  bool copiesWhole;  // rows keep their type, and move 16 bytes at a time
};

}  // namespace tilewise::cuda
