// Seen keys: the keys that the queries of a box see, in the order of their positions. Host only.
// Reader: someone who counts or draws what a pattern shows. The stretches are those that the loops run; loops may
// mask a short interior all the same, counts and pictures are of what is visible.
#pragma once

#include <algorithm>
#include <vector>

#include "../pattern/stretches.h"

namespace tilewise {

// Calls visit(Stretch) for all stretches that the queries of a box see.
template <class Pattern, class Visit>
void forEachSeen(const Pattern& pattern, int head, const Range& queries, Visit&& visit) {
  const typename Pattern::Sight sight = pattern.look(head, Box<1>{{queries}});
  forEachRun(pattern, sight, [&](const KeyRun& run) { forEachStretch(pattern, sight, run, 1, visit); });
}

// Keys that follow each other, with the parts that every query sees.
struct SeenKeys {
  Range keys;
  std::vector<Range> interior;
};

// Joins the stretches that the queries of a box see, ascending. Lists and their window may overlap.
inline std::vector<SeenKeys> joined(std::vector<Stretch>& stretches) {
  const auto isBefore = [](const Stretch& a, const Stretch& b) { return a.run.places.begin < b.run.places.begin; };
  if (!std::is_sorted(stretches.begin(), stretches.end(), isBefore)) {
    std::sort(stretches.begin(), stretches.end(), isBefore);
  }
  std::vector<SeenKeys> all;
  for (const auto& [run, isInterior] : stretches) {
    if (all.empty() || run.places.begin > all.back().keys.end) all.push_back({run.places, {}});
    SeenKeys& last = all.back();
    last.keys.end = larger(last.keys.end, run.places.end);
    if (!isInterior) continue;
    if (!last.interior.empty() && run.places.begin <= last.interior.back().end) {
      last.interior.back().end = larger(last.interior.back().end, run.places.end);
    } else {
      last.interior.push_back(run.places);
    }
  }
  return all;
}

}  // namespace tilewise
