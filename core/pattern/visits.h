// Visits: the rows of a pattern cut into runs that are interior or not. Reader: someone writing a loop.
// Interior runs take the path without predicates; that test is per run, never per problem.
#pragma once

#include "key_run.h"

namespace tilewise {

struct Run {
  Row row;
  bool isInterior;
};

// An interior shorter than this is not worth a run of its own: products of a few keys waste half a register tile,
// masking them costs two comparisons each (7x7 neighborhoods: 4 to 8 % of the time).
constexpr Token kLeastInterior = 16;

// Calls visit(Run) for the parts of one row that the queries behind `sight` may see, in ascending order of places.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachRunOf(const Pattern& pattern, const typename Pattern::Sight& sight, const Row& row,
                                 Visit&& visit) {
  const auto [keys, interior] = pattern.cut(sight, row);
  if (keys.isEmpty()) return;
  if (interior.size() < smaller(kLeastInterior, keys.size())) {
    visit(Run{row.within(keys), false});
    return;
  }
  if (keys.begin < interior.begin) visit(Run{row.within({keys.begin, interior.begin}), false});
  visit(Run{row.within(interior), true});
  if (interior.end < keys.end) visit(Run{row.within({interior.end, keys.end}), false});
}

// The same for all rows that the queries of a box may see.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachRun(const Pattern& pattern, int head, const Box<Pattern::kRank>& queries, Visit&& visit) {
  const typename Pattern::Sight sight = pattern.look(head, queries);
  forEachRow(pattern, sight, [&](const Row& row) { forEachRunOf(pattern, sight, row, visit); });
}

// The same where places are tokens, for the tokens inside `clip` only.
template <class Pattern, class Visit>
TW_HOST_DEVICE void forEachRunWithin(const Pattern& pattern, int head, const Box<1>& queries, const Range& clip,
                                     Visit&& visit) {
  static_assert(Pattern::kRank == 1, "places of a grid are not tokens");
  const typename Pattern::Sight sight = pattern.look(head, queries);
  forEachRow(pattern, sight, [&](const Row& row) {
    const Row part = row.within(intersect(row.places, clip));
    if (!part.places.isEmpty()) forEachRunOf(pattern, sight, part, visit);
  });
}

}  // namespace tilewise
