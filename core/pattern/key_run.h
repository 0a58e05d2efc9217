// KeyRun: what patterns hand out. Reader: anyone writing a pattern or a loop.
//
// A pattern is a POD that answers three questions, each stated once for all processors:
//   look(head, box)               a Sight: what the queries of a box see, as far as it does not depend on the key
//   runs(sight), run(sight, i)    the runs of keys that some query of the box may see, some of them perhaps empty;
//                                 nothing else is ever read. By number, so that a GPU's loop can take them as it goes
//   cut(sight, run)               which places of a run some query sees, and which every query sees (the interior)
// For the box of one query a cut is exact, so what one query sees of a run is always one range of places: masks are
// two numbers per query and run, and no rule is written a second time for single keys.
// A pattern whose runs may hide single tokens besides says so (kHasTokenMasks) and answers
//   tokens(run, query)            a byte per place of the run, 0 hides; null when the run hides none
#pragma once

#include "../base/box.h"

namespace tilewise {

// Keys at equal distances: place p of the run is token origin + p * step.
struct KeyRun {
  Range places;
  Token origin = 0;
  Token step = 1;
  Token at[2] = {0, 0};  // where the run lies on the pattern's other axes; the pattern's own business

  TW_HOST_DEVICE Token token(Token place) const { return origin + place * step; }
  TW_HOST_DEVICE KeyRun within(const Range& part) const {
    KeyRun run = *this;
    run.places = part;
    return run;
  }
};

struct Cut {
  Range keys;      // places some query of the box sees
  Range interior;  // places every query sees; inside `keys`, maybe empty
};

TW_HOST_DEVICE Cut cutRun(const KeyRun& run, const Range& some, const Range& all) {
  const Range keys = intersect(run.places, some);
  return {keys, intersect(keys, all)};
}

// The token mask of a run for one query, a byte per place of the run, 0 hides; null when the run has none, for any
// query.
template <class Pattern>
TW_HOST_DEVICE const uint8_t* tokenMask(const Pattern& pattern, const KeyRun& run, Token query = 0) {
  if constexpr (Pattern::kHasTokenMasks) {
    return pattern.tokens(run, query);
  } else {
    return nullptr;
  }
}

// Calls visit(run) for the runs that are not empty, in order.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachRun(const Pattern& pattern, const typename Pattern::Sight& sight, Visit&& visit) {
  const int32_t runs = pattern.runs(sight);
  for (int32_t i = 0; i < runs; ++i) {
    const KeyRun run = pattern.run(sight, i);
    if (!run.places.isEmpty()) visit(run);
  }
}

}  // namespace tilewise
