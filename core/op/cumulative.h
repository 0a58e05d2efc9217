// CumulativeProblem: for every token the softmax of the scores so far over their values, per head:
//   out_t = sum_{j <= t} e^score_j v_j / sum_{j <= t} e^score_j
// A state (max, sum, weighted values) goes on behind the last token. Reader: backend authors. Idea: Aaren (arXiv
// 2405.13956); the merge of a token into a state is core/base/softmax.h's.
#pragma once

#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/placed.h"
#include "linear.h"

namespace tilewise {

// [batch][heads], and [batch][heads][valueDim], row-major: e^max is taken out of the sum and of the weighted values.
template <class T>
struct CumulativeState {
  Placed<T> max = nullptr, sum = nullptr, weighted = nullptr;
};

// The problem as kernels are told it, byte by byte.
struct CumulativeScan {
  int32_t batch = 0, heads = 0;
  Token tokens = 0;
  int32_t valueDim = 0;
  DType dtype = DType::float32;  // of the values and of `out`
  Placed<const float> scores = nullptr;
  int64_t scoreBatch = 0, scoreHead = 0, scoreToken = 0;
  Operand value, out;
  Placed<float> lse = nullptr;  // null: not wanted
  int64_t lseBatch = 0, lseHead = 0, lseToken = 0;
  CumulativeState<const float> before;  // absent, or all three
  CumulativeState<float> after;  // likewise; may be those before

  // Of scores, values, outputs and lse, each once, and of states.
  double operandBytes() const {
    const double tasks = double(batch) * heads, states = double(before.max != nullptr) + double(after.max != nullptr);
    const double perToken = double(sizeof(float)) * (lse ? 2 : 1) + 2.0 * valueDim * double(sizeOf(dtype));
    return tasks * (tokens * perToken + states * (2.0 + valueDim) * double(sizeof(float)));
  }
  bool isEmpty() const { return !out.data && !after.max; }
};

struct CumulativeProblem : CumulativeScan {
  std::shared_ptr<LinearStates> states = std::make_shared<LinearStates>();
};

}  // namespace tilewise
