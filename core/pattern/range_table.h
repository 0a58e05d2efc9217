// RangeTable: for every query a few ranges of keys, as rules make them and query_ranges.h reads them. Host only.
// Reader: someone who writes a rule that turns what people say (documents, slices, positions) into ranges.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "../base/box.h"

namespace tilewise {

// More ranges than a table takes.
struct TooManyRanges : std::length_error {
  using std::length_error::length_error;
};

struct RangeTable {
  std::vector<int32_t> offsets{0};  // per row: its first range; at last that behind the last row
  std::vector<Range> ranges;
  size_t most = size_t(1) << 28;  // two gigabytes

  // Adds to the row that is being written, in the order of begins. Ranges that touch or overlap become one.
  void add(const Range& keys) {
    if (keys.isEmpty()) return;
    if (ranges.size() > size_t(offsets.back()) && keys.begin <= ranges.back().end) {
      ranges.back().end = larger(ranges.back().end, keys.end);
    } else {
      append(keys);
    }
  }
  // Adds the row before, which there must be, once more.
  void repeatRow() {
    const size_t end = ranges.size();
    for (size_t i = size_t(offsets[offsets.size() - 2]); i < end; ++i) append(ranges[i]);
    endRow();
  }
  void endRow() { offsets.push_back(int32_t(ranges.size())); }

 private:
  void append(Range keys) {
    if (ranges.size() == most) throw TooManyRanges("the queries see more ranges of keys than a table takes");
    ranges.push_back(keys);
  }
};

}  // namespace tilewise
