// Positions: rules that count positions instead of indices, where tokens are not in a row: shards of a ring, gathered
// keys, clusters. Reader: someone who follows `positions` or power() into ranges.
// Idea: context parallelism (ring attention, arXiv 2310.01889, in zigzag order) and Routing Transformer (arXiv
// 2003.05997) are ordinary attention once order is a matter of positions.
#pragma once

#include <algorithm>

#include "range_table.h"

namespace tilewise {

// Where queries and keys are. Lists ascend, and several tokens may have one position; where there is none, query i is
// at i + offset and key j at j.
struct TokenPositions {
  const int32_t* ofQueries = nullptr;
  const int32_t* ofKeys = nullptr;
  Token queries = 0, keys = 0;
  Token offset = 0;

  int64_t ofQuery(Token query) const { return ofQueries ? ofQueries[query] : int64_t(query) + offset; }
  int64_t ofFirstKey() const { return ofKeys && keys > 0 ? ofKeys[0] : 0; }
  // How many keys are before a position.
  Token keysBefore(int64_t position) const {
    if (!ofKeys) return Token(clamp<int64_t>(position, 0, keys));
    return Token(std::lower_bound(ofKeys, ofKeys + keys, position) - ofKeys);
  }
};

// A window that counts positions; the rule is that of window.h. Sink tokens are at positions from 0 on.
struct WindowByPosition {
  int64_t left = kMaxTokens, right = kMaxTokens, sinkTokens = 0;

  // Calls see(begin, end) for the positions that a query at `position` sees, in order. `first`: none is before it.
  template <class See>
  void positions(int64_t position, int64_t first, See&& see) const {
    const int64_t begin = left < kMaxTokens ? position - left : first;
    const int64_t end = right < kMaxTokens ? position + right + 1 : INT64_MAX;
    if (begin > 0) see(0, smaller(sinkTokens, end));
    see(begin, end);
  }
};

// Adds what each query sees by a rule that says it in positions.
template <class Rule>
void addByPosition(const Rule& rule, const TokenPositions& tokens, RangeTable& table) {
  const int64_t first = tokens.ofFirstKey();
  for (Token query = 0; query < tokens.queries; ++query) {
    rule.positions(tokens.ofQuery(query), first,
                   [&](int64_t begin, int64_t end) { table.add({tokens.keysBefore(begin), tokens.keysBefore(end)}); });
    table.endRow();
  }
}

}  // namespace tilewise
