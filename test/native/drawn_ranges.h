// Random ranges of keys per query, for the native checks. Reader: someone who draws problems (problems.h).
#pragma once

#include <algorithm>
#include <vector>

#include "draws.h"

namespace tilewise {

// Ranges that ascend and do not touch.
inline std::vector<Range> anyRanges(Draws& draws, Token keys, int most) {
  std::vector<Range> ranges;
  for (Token at = draws.pick(2) * draws.pick(keys + 1); int(ranges.size()) < most && at < keys;) {
    ranges.push_back({at, smaller(keys, at + 1 + (draws.pick(2) ? draws.pick(5) : draws.pick(keys)))});
    at = ranges.back().end + 1 + (draws.pick(2) ? draws.pick(5) : draws.pick(keys));
  }
  return ranges;
}

// In place of the window. Queries have what their neighbours have, or nearly, or anything.
inline void drawRanges(Case& c, Draws& draws) {
  AttentionProblem& p = c.problem;
  p.pattern = PatternKind::ranges;
  c.name += " ranges";
  RangeTables& t = p.ranges;
  const int32_t heads = p.outputHeads();
  t.headsPerTable = draws.pick(2) ? heads : draws.pick(2) ? 1 : heads / smaller(p.kvHeads, p.queryHeads);
  t.byHead = t.headsPerTable < heads;
  t.byBatch = draws.pick(2) ? 0 : heads / t.headsPerTable;
  const int64_t tables = t.count(p.batch, heads);
  const int form = draws.pick(3), most = 1 + draws.pick(6);
  std::vector<Range> ranges, before;
  int32_t* const offsets = draws.list<int32_t>(c, size_t(tables * p.queries + 1));
  for (int64_t row = 0; row < tables * p.queries; ++row) {
    std::vector<Range> own = form == 0 || row == 0 || draws.pick(20) == 0 ? anyRanges(draws, p.keys, most) : before;
    if (form == 2 && !own.empty()) own.back().end = larger(own.back().begin + 1, draws.pick(p.keys + 1));
    ranges.insert(ranges.end(), own.begin(), own.end());
    before = own;
    offsets[row + 1] = int32_t(ranges.size());
  }
  t.offsets = offsets;
  t.ranges = std::copy(ranges.begin(), ranges.end(), draws.list<Range>(c, ranges.size())) - ranges.size();
}

}  // namespace tilewise
