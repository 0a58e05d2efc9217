// RelativeBias: a number to add for each distance between a query and a key of a grid, per head and axis
// (options.relativeBias), [heads, 2 * kernel - 1 per axis]. Idea: NATTEN, Swin (arXiv 2103.14030).
#pragma once

#include "../base/dtype.h"
#include "rule.h"

namespace tilewise {

struct RelativeBias {
  Placed<const float> data;  // of the most negative distances
  int64_t head = 0, axis[kMaxRank] = {0, 0, 0};  // strides; axes as in ScoreQuery::place
  Token reach[kMaxRank] = {0, 0, 0};  // the longest distance along each axis, kernel - 1

  static constexpr bool kReads = true, kHasType = false;
  static constexpr bool kCoversAll = false;  // keys that a query does not see may be beyond its reach
  using Row = int64_t;  // where the key of place 0 would be

  TW_HOST_DEVICE bool isPresent() const { return data; }
  TW_HOST_DEVICE int64_t row(const ScoreQuery& q) const {
    int64_t at = q.head * head;
    for (int a = 0; a < kMaxRank; ++a) at += (reach[a] - q.place[a]) * axis[a];
    return at;
  }
  TW_HOST_DEVICE int64_t at(int64_t row, const ScoreKey& k) const {
    for (int a = 0; a < kMaxRank; ++a) row += k.place[a] * axis[a];
    return row;
  }
  template <class Visit>
  TW_HOST_DEVICE void withReader(Visit&& visit) const {
    visit(readerOf(data.data));
  }
  template <class N>
  TW_HOST_DEVICE N addend(N bias) const {
    return bias;
  }
  template <class Visit>
  void operand(const ScoreShape& s, Visit&& visit) {
    const auto size = [&](int a) { return 2 * int64_t(reach[a]) + 1; };
    const OperandAxis axes[] = {{s.heads, &head}, {size(0), &axis[0]}, {size(1), &axis[1]}, {size(2), &axis[2]}};
    visit(data, int64_t(sizeof(float)), axes);
  }
};

}  // namespace tilewise
