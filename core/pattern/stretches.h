// Stretches: the parts of a key run, each either seen by all queries of a box (interior) or masked.
// Reader: someone writing a loop. CPU loops, GPU visits and explain() cut runs here and nowhere else.
// Interior stretches take the path without predicates; that test is per stretch, never per problem.
#pragma once

#include "key_run.h"

namespace tilewise {

// The places of a run that some query behind `sight` sees, and those that all of them see without asking a token mask.
template <class Pattern>
TW_HOST_DEVICE Cut visibleCut(const Pattern& pattern, const typename Pattern::Sight& sight, const KeyRun& run) {
  Cut cut = pattern.cut(sight, run);
  if (tokenMask(pattern, run)) cut.interior = {};
  return cut;
}

struct Stretch {
  KeyRun run;
  bool isInterior;
};

// Calls visit(Stretch) for the parts of a run that the queries behind `sight` may see, in ascending order of places.
// An interior of fewer than `leastInterior` places is masked together with its surroundings, if it has any; 1 keeps
// every interior.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachStretch(const Pattern& pattern, const typename Pattern::Sight& sight, const KeyRun& run,
                                   Token leastInterior, Visit&& visit) {
  const auto [keys, interior] = visibleCut(pattern, sight, run);
  if (keys.isEmpty()) return;
  if (interior.size() < smaller(leastInterior, keys.size())) {
    visit(Stretch{run.within(keys), false});
    return;
  }
  if (keys.begin < interior.begin) visit(Stretch{run.within({keys.begin, interior.begin}), false});
  visit(Stretch{run.within(interior), true});
  if (interior.end < keys.end) visit(Stretch{run.within({interior.end, keys.end}), false});
}

}  // namespace tilewise
