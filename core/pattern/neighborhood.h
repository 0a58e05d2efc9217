// Neighborhood: every token of a 1-D, 2-D or 3-D grid sees the window of tokens around it.
// Reader: someone who reads window.h next. Semantics: NATTEN 0.21's, generalized neighborhood attention (arXiv
// 2504.16922): windows are shifted inward at the edges, never cropped; queries of a stride group share the window of
// their leader; a dilation group is a grid of its own. Clipped windows are HaloNet's (arXiv 2103.12731): they stay
// where they are, and an edge cuts them.
#pragma once

#include "key_run.h"

namespace tilewise {

// One axis of a grid, in places of one dilation group.
struct NeighborhoodAxis {
  Token length = 1;
  Token kernel = 1;
  // Negative: an edge cuts windows, as though groups and windows went on behind it. A flag of its own takes a register
  // that the GPU kernels of the largest tiles do not have.
  Token signedStride = 1;
  bool isCausal = false;

  // The window of query i. Both ends never fall as i grows, which lets a box be judged by its corners. Even kernels
  // have one key more before the leader than after it; of an even stride group the right one of the middle two leads.
  TW_HOST_DEVICE Range window(Token i) const {
    const bool isClipped = signedStride < 0;
    const Token stride = isClipped ? -signedStride : signedStride;
    const Token group = stride == 1 ? i : i / stride * stride;
    const Token behind = isClipped ? group + stride : smaller(group + stride, length);
    if (isCausal) return {larger<Token>(behind - kernel, 0), i + 1};
    const Token first = group + stride / 2 - kernel / 2;
    const Token begin = clamp<Token>(first, 0, isClipped ? length : length - kernel);
    return {begin, isClipped ? smaller<Token>(first + kernel, length) : begin + kernel};
  }
};

template <int Rank>
struct Neighborhood {
  static constexpr int kRank = Rank;
  static constexpr bool kIsGrid = true;
  static constexpr bool kIsDense = false;
  static constexpr bool kHasTokenMasks = false;
  static constexpr bool kHasAddends = false;
  static constexpr bool kMixesHeads = false;

  NeighborhoodAxis axis[Rank];
  Token origin = 0;  // token of place 0
  Token step[Rank]{};  // tokens from place to place

  struct Sight {
    Range some[Rank], all[Rank];
  };

  TW_HOST_DEVICE Sight look(int /*head*/, const Box<Rank>& queries) const {
    Sight sight;
    for (int a = 0; a < Rank; ++a) {
      const Range& q = queries.axis[a];
      const Range first = axis[a].window(q.begin), last = q.size() == 1 ? first : axis[a].window(q.end - 1);
      sight.some[a] = {first.begin, last.end};
      sight.all[a] = {last.begin, first.end};
    }
    return sight;
  }

  // Along the last axis; at[] are the places on the axes before it, the one next to it in at[1].
  TW_HOST_DEVICE int32_t runs(const Sight& sight) const {
    int32_t runs = 1;
    for (int a = 0; a < Rank - 1; ++a) runs *= sight.some[a].size();
    return runs;
  }
  TW_HOST_DEVICE KeyRun run(const Sight& sight, int32_t i) const {
    KeyRun run{sight.some[Rank - 1], origin, step[Rank - 1]};
    if constexpr (Rank > 2) {
      const Token perPlane = sight.some[1].size();
      run.at[0] = sight.some[0].begin + i / perPlane;
      run.origin += run.at[0] * step[0];
      i %= perPlane;
    }
    if constexpr (Rank > 1) {
      run.at[1] = sight.some[Rank - 2].begin + i;
      run.origin += run.at[1] * step[Rank - 2];
    }
    return run;
  }

  TW_HOST_DEVICE Cut cut(const Sight& sight, const KeyRun& run) const {
    bool isSeen = true, isShared = true;
    for (int a = 0; a < Rank - 1; ++a) {
      const Token at = run.at[a + 3 - Rank];
      isSeen &= sight.some[a].contains(at);
      isShared &= sight.all[a].contains(at);
    }
    if (!isSeen) return {{run.places.begin, run.places.begin}, {}};
    return cutRun(run, sight.some[Rank - 1], isShared ? sight.all[Rank - 1] : Range{});
  }

  TW_HOST_DEVICE PatternTraits traits() const {
    PatternTraits traits{"neighborhood"};
    traits.isGrid = true;
    traits.headsAlike = 1;  // all are, but the rows of a grid's tile are tokens of one head
    return traits;
  }
  TW_HOST_DEVICE int64_t headClass(int /*head*/) const { return 0; }
  TW_HOST_DEVICE Token visitedKeys() const {
    Token keys = 1;
    for (const NeighborhoodAxis& a : axis) keys *= smaller(a.kernel, larger<Token>(a.length, 1));
    return keys;
  }
};

}  // namespace tilewise
