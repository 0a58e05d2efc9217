// SliceRanges: a mask as rectangles of queries and keys, each full or cut along a diagonal. Reader: someone who follows
// attentionSlices() into ranges. Semantics: the AttnSlice of MagiAttention (MAGI-1, arXiv 2505.13211).
#pragma once

#include <algorithm>
#include <vector>

#include "range_table.h"

namespace tilewise {

// Row i and column j of a slice of `queries` by `keys`. Causal is bottom-right: j <= i + keys - queries. Inverse causal
// is top-left: j >= i. A slice may be both.
struct AttentionSlice {
  Range queries, keys;
  bool isCausal = false, isInverse = false;

  Range seenBy(Token query) const {
    const Token row = query - queries.begin;
    const Token begin = isInverse ? row : 0;
    const Token end = isCausal ? row + keys.size() - queries.size() + 1 : keys.size();
    return intersect(keys, {keys.begin + begin, keys.begin + end});
  }
};

// A key that a query would see twice.
struct SliceOverlap {
  bool isAny = false;
  Token query = 0, key = 0;
  int32_t slices[2] = {0, 0};
};

// Adds what each of so many queries sees of a list of slices; stops at the first overlap.
inline SliceOverlap addSlices(const std::vector<AttentionSlice>& slices, Token queries, RangeTable& table) {
  struct Seen {
    Range keys;
    int32_t slice;
  };
  std::vector<int32_t> order(slices.size()), open;
  for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return slices[size_t(a)].queries.begin < slices[size_t(b)].queries.begin;
  });
  std::vector<Seen> seen;
  size_t next = 0;
  for (Token query = 0; query < queries; ++query) {
    while (next < order.size() && slices[size_t(order[next])].queries.begin <= query) open.push_back(order[next++]);
    open.erase(std::remove_if(open.begin(), open.end(),
                              [&](int32_t slice) { return slices[size_t(slice)].queries.end <= query; }),
               open.end());
    seen.clear();
    for (const int32_t slice : open) {
      const Range keys = slices[size_t(slice)].seenBy(query);
      if (!keys.isEmpty()) seen.push_back({keys, slice});
    }
    std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.keys.begin < b.keys.begin; });
    for (size_t i = 0; i < seen.size(); ++i) {
      if (i > 0 && seen[i].keys.begin < seen[i - 1].keys.end) {
        const auto [first, second] = std::minmax(seen[i - 1].slice, seen[i].slice);
        return {true, query, seen[i].keys.begin, {first, second}};
      }
      table.add(seen[i].keys);
    }
    table.endRow();
  }
  return {};
}

}  // namespace tilewise
