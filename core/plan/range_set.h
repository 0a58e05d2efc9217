// RangeSet: a set of keys as ranges, for what many tiles have in common. Host only.
// Reader: someone who counts keys once, whoever reads them.
#pragma once

#include <algorithm>
#include <vector>

#include "../base/box.h"

namespace tilewise {

class RangeSet {
 public:
  void add(const Range& range) {
    if (!ranges_.empty() && ranges_.back().contains(range)) return;
    ranges_.push_back(range);
    if (ranges_.size() > 2 * merged_ + 1024) merge();
  }
  void add(const RangeSet& other) {
    for (const Range& range : other.ranges_) add(range);
  }
  int64_t size() {
    merge();
    int64_t size = 0;
    for (const Range& range : ranges_) size += range.size();
    return size;
  }

 private:
  void merge() {
    std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    size_t count = 0;
    for (const Range& range : ranges_) {
      if (count > 0 && range.begin <= ranges_[count - 1].end) {
        ranges_[count - 1].end = larger(ranges_[count - 1].end, range.end);
      } else {
        ranges_[count++] = range;
      }
    }
    ranges_.resize(merged_ = count);
  }

  std::vector<Range> ranges_;
  size_t merged_ = 0;
};

}  // namespace tilewise
