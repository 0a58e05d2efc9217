// AlibiSlopes: scores fall with the distance between query and key, by a slope per head (options.alibiSlopes).
// Idea: ALiBi (arXiv 2108.12409), as flash-attention computes it: the distance has no sign.
#pragma once

#include "rule.h"

namespace tilewise {

struct AlibiSlopes {
  Placed<const float> data;
  int64_t batch = 0, head = 0;  // strides

  static constexpr bool kReads = false, kHasType = false;
  using Row = float;  // what each token of distance adds

  TW_HOST_DEVICE bool isPresent() const { return data; }
  TW_HOST_DEVICE float row(const ScoreQuery& q) const { return -data[q.batch * batch + q.head * head]; }
  template <class N>
  TW_HOST_DEVICE N addend(N perToken, N distance) const {
    return keepFinite(perToken * absolute(distance));  // steep slopes leave a far key faint, not hidden
  }
  template <class Visit>
  void operand(const ScoreShape& s, Visit&& visit) {
    const OperandAxis axes[] = {{s.batch, &batch}, {s.heads, &head}};
    visit(data, int64_t(sizeof(float)), axes);
  }
};

}  // namespace tilewise
