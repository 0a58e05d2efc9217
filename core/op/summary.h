// SummaryProblem: what is kept of runs of keys, per head and channel: the largest and the smallest number, and the
// mean. Reader: backend authors. A query's product with the keys of a run is at most that of its positive parts with
// the largest and of its negative parts with the smallest numbers, which is one product of twice the dim. Idea: Quest
// (arXiv 2406.10774); means: MInference (arXiv 2407.02490).
#pragma once

#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/placed.h"

namespace tilewise {

// Keys [first, first + count) of a batch entry (of a pool of pages: of a page), one at least, and the row that they go
// to.
struct SummaryRun {
  int32_t batch, first, count, row;
};

struct SummaryProblem {
  int32_t batch = 0, heads = 0;  // of a pool, pages
  Token tokens = 0;  // of a batch entry; of a page
  int32_t headDim = 0;
  DType type = DType::float32;
  Operand key;
  const SummaryRun* runs = nullptr;
  int64_t runCount = 0;
  int64_t rows = 0;
  Placed<void> bounds = nullptr;  // [rows][heads][2 headDim] of the keys' type: the largest, then the smallest
  Placed<float> means = nullptr;  // [rows][heads][headDim]

  bool isEmpty() const { return runCount == 0; }
};

}  // namespace tilewise
