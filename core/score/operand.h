// ScoreOperand: a value for each [batch, head, query, key], whatever of it broadcasts. Reader: someone who adds a rule
// that reads one; bias and mask do.
#pragma once

#include "../base/dtype.h"
#include "rule.h"

namespace tilewise {

// Strides are in elements; stride 0 broadcasts. data == nullptr: absent.
struct ScoreOperand {
  Placed<const void> data;
  int64_t batch = 0, head = 0, query = 0, key = 0;
  bool isOfKvHeads = false;  // heads are KV heads, each of which serves its group; else those of the output

  static constexpr bool kReads = true, kCoversAll = true;
  using Row = int64_t;

  TW_HOST_DEVICE bool isPresent() const { return data; }
  TW_HOST_DEVICE int64_t row(const ScoreQuery& q) const {
    return q.batch * batch + (isOfKvHeads ? q.kvHead : q.head) * head + q.token * query + q.firstKey * key;
  }
  TW_HOST_DEVICE int64_t at(int64_t row, const ScoreKey& k) const { return row + k.token * key; }

 protected:
  template <class Visit>
  void operandOf(int64_t elementBytes, const ScoreShape& s, Visit&& visit) {
    const int64_t heads = isOfKvHeads ? s.kvHeads : s.heads;
    const OperandAxis axes[] = {{s.batch, &batch}, {heads, &head}, {s.queries, &query}, {s.keys, &key}};
    visit(data, elementBytes, axes);
  }
};

// One whose elements may be of any type.
struct TypedOperand : ScoreOperand {
  DType dtype = DType::float32;

  static constexpr bool kHasType = true;

  template <class Visit>
  TW_HOST_DEVICE void withReader(Visit&& visit) const {
    withElementType(dtype, [&](auto* element) { visit(readerOf(static_cast<decltype(element)>(data.data))); });
  }
  template <class Visit>
  void operand(const ScoreShape& shape, Visit&& visit) {
    operandOf(sizeOf(dtype), shape, visit);
  }
};

}  // namespace tilewise
