// Visits: a pattern's regions cut into runs of consecutive keys, each known to be interior or not.
// Reader: someone writing a loop. Interior runs take the path without predicates; that test is per run, never per
// problem.
#pragma once

#include "box.h"

namespace tilewise {

struct Run {
  Range keys;
  bool isInterior;
};

// Calls visit(Run) for every run of keys inside `clip` that queries of the box may see, in ascending order of keys.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachRun(const Pattern& pattern, int head, const Box<1>& queries, const Range& clip,
                               Visit&& visit) {
  static_assert(Pattern::kRank == 1, "grids are cut by rows of their last axis");
  Region<1> regions[Pattern::kMaxRegions];
  const int count = pattern.regions(head, queries, regions);
  for (int i = 0; i < count; ++i) {
    const Range keys = intersect(regions[i].keys.axis[0], clip);
    if (keys.isEmpty()) continue;
    const Range interior = intersect(regions[i].interior.axis[0], keys);
    if (interior.isEmpty()) {
      visit(Run{keys, false});
      continue;
    }
    if (keys.begin < interior.begin) visit(Run{{keys.begin, interior.begin}, false});
    visit(Run{interior, true});
    if (interior.end < keys.end) visit(Run{{interior.end, keys.end}, false});
  }
}

}  // namespace tilewise
