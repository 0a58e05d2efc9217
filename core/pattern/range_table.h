// RangeTable: for every query a few ranges of keys, as rules make them and query_ranges.h reads them. Host only.
// Reader: someone who writes a rule that turns what people say (documents, slices, positions) into ranges.
#pragma once

#include <cstdint>
#include <vector>

#include "../base/box.h"

namespace tilewise {

struct RangeTable {
  std::vector<int32_t> offsets{0};  // per row: its first range; at last that behind the last row
  std::vector<Range> ranges;

  // Adds to the row that is being written, in the order of begins. Ranges that touch or overlap become one.
  void add(const Range& keys) {
    if (keys.isEmpty()) return;
    if (ranges.size() > size_t(offsets.back()) && keys.begin <= ranges.back().end) {
      ranges.back().end = larger(ranges.back().end, keys.end);
    } else {
      ranges.push_back(keys);
    }
  }
  void endRow() { offsets.push_back(int32_t(ranges.size())); }
};

}  // namespace tilewise
