// WindowOrRanges: a window, or ranges, as one type: GPUs have one kernel for both.
// Reader: someone who asks which kernel runs ranges. A window is ranges in closed form, so that loops meet the two
// alike; which one it is, is the same for all of a call.
#pragma once

#include "query_ranges.h"
#include "window.h"

namespace tilewise {

struct WindowOrRanges {
  static constexpr int kRank = 1;
  static constexpr bool kIsGrid = false;
  static constexpr bool kIsDense = false;
  static constexpr bool kHasTokenMasks = false;
  static constexpr bool kHasAddends = false;
  static constexpr bool kMixesHeads = true;

  Window window;
  QueryRanges ranges;  // without offsets: the window

  // A window's, which has room for that of ranges.
  using Sight = Window::Sight;

  TW_HOST_DEVICE Sight look(int head, const Box<1>& queries) const {
    return hasRanges() ? sightOf(ranges.look(head, queries)) : window.look(head, queries);
  }
  // Heads of a range have one table.
  TW_HOST_DEVICE Sight look(const Range& heads, const Box<1>& queries) const {
    return hasRanges() ? sightOf(ranges.look(heads.begin, queries)) : window.look(heads, queries);
  }
  TW_HOST_DEVICE int32_t runs(const Sight& s) const { return hasRanges() ? ranges.runs(ofRanges(s)) : window.runs(s); }
  TW_HOST_DEVICE KeyRun run(const Sight& s, int32_t i) const {
    return hasRanges() ? ranges.run(ofRanges(s), i) : window.run(s, i);
  }
  TW_HOST_DEVICE Cut cut(const Sight& s, const KeyRun& run) const {
    return hasRanges() ? ranges.cut(ofRanges(s), run) : window.cut(s, run);
  }

 private:
  TW_HOST_DEVICE bool hasRanges() const { return ranges.tables.offsets != nullptr; }
  static TW_HOST_DEVICE Sight sightOf(const QueryRanges::Sight& s) { return {{s.rows, s.runs}}; }
  static TW_HOST_DEVICE QueryRanges::Sight ofRanges(const Sight& s) { return {s.some, s.all}; }
};

}  // namespace tilewise
