// Stretches: the runs of a pattern, cut into stretches that are interior or not. Reader: someone writing a loop.
// Interior stretches take the path without predicates; that test is per stretch, never per problem.
#pragma once

#include "key_run.h"

namespace tilewise {

struct Stretch {
  KeyRun run;
  bool isInterior;
};

// An interior shorter than this is not worth a stretch of its own: products of a few keys waste half a register tile,
// masking them costs two comparisons each (7x7 neighborhoods: 4 to 8 % of the time).
constexpr Token kLeastInterior = 16;

// Calls visit(Stretch) for the parts of one run that the queries behind `sight` may see, in ascending order of places.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachStretchOf(const Pattern& pattern, const typename Pattern::Sight& sight, const KeyRun& run,
                                     Visit&& visit) {
  const auto [keys, interior] = pattern.cut(sight, run);
  if (keys.isEmpty()) return;
  if (interior.size() < smaller(kLeastInterior, keys.size())) {
    visit(Stretch{run.within(keys), false});
    return;
  }
  if (keys.begin < interior.begin) visit(Stretch{run.within({keys.begin, interior.begin}), false});
  visit(Stretch{run.within(interior), true});
  if (interior.end < keys.end) visit(Stretch{run.within({interior.end, keys.end}), false});
}

// The same for all runs that the queries of a box may see.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachStretch(const Pattern& pattern, int head, const Box<Pattern::kRank>& queries,
                                   Visit&& visit) {
  const typename Pattern::Sight sight = pattern.look(head, queries);
  forEachRun(pattern, sight, [&](const KeyRun& run) { forEachStretchOf(pattern, sight, run, visit); });
}

// The same where places are tokens, for the tokens inside `clip` only.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachStretchWithin(const Pattern& pattern, int head, const Box<1>& queries, const Range& clip,
                                         Visit&& visit) {
  static_assert(Pattern::kRank == 1, "places of a grid are not tokens");
  const typename Pattern::Sight sight = pattern.look(head, queries);
  forEachRun(pattern, sight, [&](const KeyRun& run) {
    const KeyRun part = run.within(intersect(run.places, clip));
    if (!part.places.isEmpty()) forEachStretchOf(pattern, sight, part, visit);
  });
}

}  // namespace tilewise
