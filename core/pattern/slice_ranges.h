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

  // The queries that see a key of it.
  Range seeing() const {
    const Token rows = queries.size(), columns = keys.size();
    if (isCausal && isInverse && columns < rows) return {queries.begin, queries.begin};
    const Token first = isCausal ? larger<Token>(rows - columns, 0) : 0;
    const Token end = isInverse ? smaller(rows, columns) : columns > 0 ? rows : 0;
    return {queries.begin + first, queries.begin + larger(first, end)};
  }
};

// A key that a query would see twice.
struct SliceOverlap {
  bool isAny = false;
  Token query = 0, key = 0;
  int32_t slices[2] = {0, 0};
};

// Adds what each of so many queries sees of a list of slices; stops at the first overlap. Slices that a query sees are
// kept in the order of their keys, which never changes: from one query to the next the ends of a slice move by one at
// most, and slices that do not overlap cannot pass each other. A row in which nothing moves repeats the one before it.
inline SliceOverlap addSlices(const std::vector<AttentionSlice>& slices, Token queries, RangeTable& table) {
  const auto seen = [&](int32_t slice, Token query) { return slices[size_t(slice)].seenBy(query); };
  std::vector<Range> seeing;
  std::vector<int32_t> order, open;
  for (const AttentionSlice& slice : slices) seeing.push_back(slice.seeing());
  for (size_t i = 0; i < slices.size(); ++i) {
    if (!seeing[i].isEmpty()) order.push_back(int32_t(i));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return seeing[size_t(a)].begin < seeing[size_t(b)].begin; });
  size_t next = 0;
  Token nextEnd = 0;  // no open slice ends before it
  size_t diagonals = 0;  // open slices that move
  for (Token query = 0; query < queries; ++query) {
    bool isNew = query == 0 || diagonals > 0;  // the table may have rows of another list before
    if (query >= nextEnd && !open.empty()) {
      open.erase(
          std::remove_if(open.begin(), open.end(), [&](int32_t slice) { return seeing[size_t(slice)].end <= query; }),
          open.end());
      isNew = true;
    }
    const size_t known = open.size();
    while (next < order.size() && seeing[size_t(order[next])].begin <= query) open.push_back(order[next++]);
    if (open.size() > known) {
      const auto isBefore = [&](int32_t a, int32_t b) { return seen(a, query).begin < seen(b, query).begin; };
      const auto middle = open.begin() + std::ptrdiff_t(known);
      std::stable_sort(middle, open.end(), isBefore);
      std::inplace_merge(open.begin(), middle, open.end(), isBefore);
      isNew = true;
    }
    if (!isNew) {
      table.repeatRow();
      continue;
    }
    nextEnd = queries;
    diagonals = 0;
    Range before;
    for (size_t i = 0; i < open.size(); ++i) {
      const AttentionSlice& slice = slices[size_t(open[i])];
      const Range keys = slice.seenBy(query);
      if (i > 0 && keys.begin < before.end) {
        const auto [first, second] = std::minmax(open[i - 1], open[i]);
        return {true, query, keys.begin, {first, second}};
      }
      before = keys;
      table.add(keys);
      nextEnd = smaller(nextEnd, seeing[size_t(open[i])].end);
      diagonals += slice.isCausal || slice.isInverse;
    }
    table.endRow();
  }
  return {};
}

}  // namespace tilewise
