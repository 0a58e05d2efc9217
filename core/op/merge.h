// MergeProblem: partial attention results over disjoint sets of keys, merged into the result over their union.
// Reader: backend authors. The rule is core/base/softmax.h's merge(), applied to parts in order, sinks last.
#pragma once

#include <vector>

#include "attention.h"

namespace tilewise {

struct MergePart {
  Operand out;
  Placed<const float> lse = nullptr;
  int64_t lseBatch = 0, lseHead = 0, lseToken = 0;

  // A part of an activation other than softmax has no lse.
  TW_HOST_DEVICE bool justAdds() const { return !lse; }
  // The state of a normalised row: its sum is 1 where the part saw a key. Those of parts that just add weigh the same.
  TW_HOST_DEVICE SoftmaxState stateAt(int64_t batch, int64_t token, int64_t head) const {
    return stateOfLse(justAdds() ? 0 : lse[batch * lseBatch + head * lseHead + token * lseToken]);
  }
};

struct MergeProblem {
  int32_t batch = 0, heads = 0;
  Token queries = 0;
  int32_t valueDim = 0;
  DType dtype = DType::float32;  // of the parts' outputs and of `out`
  std::vector<MergePart> parts;  // all with lse, or none
  Placed<const float> sinks = nullptr;  // one logit per head, in the denominator only; the parts have none
  int64_t sinksHead = 0;
  Operand out;
  Placed<float> lse = nullptr;  // where the parts have it
  int64_t lseBatch = 0, lseHead = 0, lseToken = 0;

  bool isEmpty() const { return out.data == nullptr; }
  const float* sink(int64_t head) const { return sinks ? sinks + head * sinksHead : nullptr; }
};

}  // namespace tilewise
