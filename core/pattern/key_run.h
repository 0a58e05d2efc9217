// KeyRun, and what a pattern is. Reader: anyone who writes a pattern or a loop.
//
// A pattern is a POD that answers three questions, each stated once for all processors:
//   look(head, box)               a Sight: what the queries of a box see, as far as it does not depend on the key
//   runs(sight), run(sight, i)    the runs of keys that some query of the box may see, some of them perhaps empty;
//                                 nothing else is ever read. By number, so that a GPU's loop can take them as it goes.
//                                 A query sees a key in one run at most
//   cut(sight, run)               which places of a run some query sees, and which every query sees (the interior). A
//                                 kernel asks key by key: of run() it keeps the place and at[], not origin and step
// For the box of one query a cut is exact, so what one query sees of a run is always one range of places: masks are
// two numbers per query and run, and no rule is written a second time for single keys.
//
// A pattern also answers everything else that loops and planners ask, so that none of them knows its name:
//   kRank                         axes of its boxes
//   kIsGrid                       queries and keys are places of a dilation group, and origin, step[] and axis[].length
//                                 say which; else places are tokens: a run's origin is 0, its step is 1, and keys that
//                                 do not follow each other are runs of their own
//   kIsDense                      its runs are long: most of its keys follow each other. They ascend
//   kHasTokenMasks                runs may hide single tokens; then tokens(run, query) is as tokenMask() below
//   kHasAddends                   runs may add to the scores of their keys: hasAddends() says whether any does, and
//                                 addend(run) what, the same for all keys and queries of a run
//   kMixesHeads                   look(heads, box) answers for heads that see different keys: they may share tiles all
//   the
//                                 same, in which each row is cut by its own head
//   traits()                      PatternTraits below: tiles and kernels are chosen by them
//   headClass(head)               heads of one class see the same keys
//   visitedKeys()                 about how many keys one query visits; an upper bound will do. Reads lists
#pragma once

#include "../base/box.h"

namespace tilewise {

// Keys at equal distances: place p of the run is token origin + p * step.
struct KeyRun {
  Range places;
  Token origin = 0;
  Token step = 1;
  Token at[2] = {0, 0};  // the run's place on the pattern's other axes, or what else the pattern notes for itself

  TW_HOST_DEVICE Token token(Token place) const { return origin + place * step; }
  TW_HOST_DEVICE KeyRun within(const Range& part) const {
    KeyRun run = *this;
    run.places = part;
    return run;
  }
};

struct Cut {
  Range keys;  // places some query of the box sees
  Range interior;  // places every query sees; inside `keys`, maybe empty
};

TW_HOST_DEVICE Cut cutRun(const KeyRun& run, const Range& some, const Range& all) {
  const Range keys = intersect(run.places, some);
  return {keys, intersect(keys, all)};
}

// The traits by which tiles and kernels are chosen. They come without reading lists, which may be on a device.
struct PatternTraits {
  const char* name;  // of its kernels
  bool isGrid = false, isDense = false;
  int32_t headsAlike = 0;  // so many consecutive heads see the same keys; 0: all heads
  bool mixesHeads = false;  // heads that see different keys may share tiles, too
  Token queryBlock = kMaxTokens;  // queries that are asked together: no tile crosses a multiple of this
  bool isPlanned =
      false;  // queryBlock is the height that the processor has chosen, or none: its runs are planned for it
  Token keyBlock = 0;  // keys that are seen or hidden as one; 0: any number
  int32_t sparsity = 1;  // one in so many keys is visited, about
  bool hasStreamKernel = false, hasDecodeKernel = false;  // on a GPU; every pattern has a gather kernel

  TW_HOST_DEVICE bool areAlike(int32_t heads) const { return headsAlike == 0 || headsAlike % heads == 0; }
  TW_HOST_DEVICE bool sharesKeys(int32_t heads) const { return mixesHeads || areAlike(heads); }
  TW_HOST_DEVICE bool hasQueryBlocks() const { return queryBlock < kMaxTokens; }
};

// The token mask of a run for one query, a byte per place of the run, 0 hides; null when the run has none, for any
// query. The masks of queries that follow each other in a query block are at equal distances.
template <class Pattern>
TW_HOST_DEVICE const uint8_t* tokenMask(const Pattern& pattern, const KeyRun& run, Token query = 0) {
  if constexpr (Pattern::kHasTokenMasks) {
    return pattern.tokens(run, query);
  } else {
    return nullptr;
  }
}

// What a pattern adds to the scores of a run's keys.
template <class Pattern>
TW_HOST_DEVICE float addendOf(const Pattern& pattern, const KeyRun& run) {
  if constexpr (Pattern::kHasAddends) {
    return pattern.addend(run);
  } else {
    return 0;
  }
}

// What the queries of a box see for the heads of a tile; the first speaks for all unless the pattern mixes heads.
template <class Pattern>
TW_HOST_DEVICE typename Pattern::Sight lookAmong(const Pattern& pattern, const Range& heads,
                                                 const Box<Pattern::kRank>& queries) {
  if constexpr (Pattern::kMixesHeads) {
    return pattern.look(heads, queries);
  } else {
    return pattern.look(heads.begin, queries);
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
