// Seen keys: the keys that the queries of a box see, in the order of their positions. Host only.
// Reader: someone who counts or draws what a pattern shows. The stretches are those that the loops run; loops may
// mask a short interior all the same, counts and pictures are of what is visible.
#pragma once

#include <algorithm>
#include <vector>

#include "../pattern/stretches.h"

namespace tilewise {

// Calls visit(Stretch) for all stretches that the queries of a box see for the heads of a tile.
template <class Pattern, class Visit>
void forEachSeen(const Pattern& pattern, const Range& heads, const Range& queries, Visit&& visit) {
  const typename Pattern::Sight sight = lookAmong(pattern, heads, Box<1>{{queries}});
  forEachRun(pattern, sight, [&](const KeyRun& run) { forEachStretch(pattern, sight, run, 1, visit); });
}

// Keys that follow each other, with the parts that every query sees.
struct SeenKeys {
  Range keys;
  std::vector<Range> interior;
};

// Joins the stretches that the queries of a box see: calls visit(SeenKeys) in the order of positions. Sorts
// `stretches`, because lists and their window may overlap.
template <class Visit>
void forEachJoined(std::vector<Stretch>& stretches, Visit&& visit) {
  const auto isBefore = [](const Stretch& a, const Stretch& b) { return a.run.places.begin < b.run.places.begin; };
  if (!std::is_sorted(stretches.begin(), stretches.end(), isBefore)) {
    std::sort(stretches.begin(), stretches.end(), isBefore);
  }
  SeenKeys seen{};  // one for all: patterns have runs by the thousand
  for (const auto& [run, isInterior] : stretches) {
    const Range& keys = run.places;
    if (keys.begin > seen.keys.end) {
      if (seen.keys.size() > 0) visit(seen);
      seen.keys = {keys.begin, keys.begin};
      seen.interior.clear();
    }
    seen.keys.end = larger(seen.keys.end, keys.end);
    if (!isInterior) continue;
    if (!seen.interior.empty() && keys.begin <= seen.interior.back().end) {
      seen.interior.back().end = larger(seen.interior.back().end, keys.end);
    } else {
      seen.interior.push_back(keys);
    }
  }
  if (seen.keys.size() > 0) visit(seen);
}

}  // namespace tilewise
