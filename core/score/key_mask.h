// KeyMask: hides the keys of a sequence whose byte is 0, whatever the head and the query (options.keyMask).
#pragma once

#include "mask.h"

namespace tilewise {

// Not for packed keys: a row is of a batch entry of keys. The strides of heads and queries stay 0.
struct KeyMask : Mask {
  TW_HOST_DEVICE int64_t row(const ScoreQuery& q) const { return q.keyBatch * batch; }
  template <class Visit>
  void operand(const ScoreShape& s, Visit&& visit) {
    const OperandAxis axes[] = {{s.sequences, &batch}, {s.keys, &key}};
    visit(data, 1, axes);
  }
};

}  // namespace tilewise
