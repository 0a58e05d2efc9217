// LocalLinearProblem: softmax attention with a correction that is linear in the key. Per query q and the keys it sees,
// with p_j their softmax weights and kbar = sum of p_j k_j:
//   out = sum of p_j (1 - r.(k_j - kbar)) v_j
// r is the solution of (C + lambda I) r = kbar - q, C = sum of p_j (k_j - kbar)(k_j - kbar)^T, which makes `out` the
// value at q of a line fitted to the values (local linear attention); or it is given (Parallax). Reader: backend
// authors. Idea: Local Linear Attention (arXiv 2510.01450); C is never formed.
#pragma once

#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/platform.h"

namespace tilewise {

// Elements of a row, at most.
constexpr int32_t kMostLocalLinearDim = 4096;

struct LocalLinearProblem {
  int32_t batch = 0, queryHeads = 0, kvHeads = 0;  // query head h reads KV head h * kvHeads / queryHeads
  Token queries = 0, keys = 0;
  int32_t headDim = 0, valueDim = 0;
  DType dtype = DType::float32;
  bool isCausal = true;  // bottom-right: the last query sees all keys
  float scale = 1;  // of q.k; r.k is never scaled
  Operand query, key, value, out;
  Operand correction;  // r, like query; without data r is solved for
  // Conjugate gradients from r = 0: they end for a row after `iterations`, or once its residual is 0 or at most
  // `tolerance` times the first.
  float lambda = 0, tolerance = 0;
  int32_t iterations = 0;

  bool isEmpty() const { return !out.data; }
  TW_HOST_DEVICE bool isSolved() const { return !correction.data; }
  TW_HOST_DEVICE int32_t headsPerKey() const { return queryHeads / kvHeads; }
  // Keys that a query sees: those before this one.
  TW_HOST_DEVICE Token end(Token query) const { return isCausal ? larger<Token>(0, query + 1 + keys - queries) : keys; }
};

}  // namespace tilewise
