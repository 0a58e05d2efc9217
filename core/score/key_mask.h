// KeyMask: hides the keys of a batch entry whose byte is 0, whatever the head and the query (options.keyMask).
#pragma once

#include "mask.h"

namespace tilewise {

// Not for packed sequences: a row is a batch entry's. The strides of heads and queries stay 0.
struct KeyMask : Mask {
  TW_HOST_DEVICE int64_t row(const ScoreQuery& q) const { return q.batch * batch; }
  template <class Visit>
  void operand(const ScoreShape& s, Visit&& visit) {
    const OperandAxis axes[] = {{s.batch, &batch}, {s.keys, &key}};
    visit(data, 1, axes);
  }
};

}  // namespace tilewise
