// Window: the windows of a call, OneWindow for all heads or one for each. Reader: someone who follows windows that
// differ by head; one_window.h has what a single head sees.
#pragma once

#include "head_windows.h"
#include "one_window.h"

namespace tilewise {

struct Window {
  static constexpr int kRank = 1;
  static constexpr bool kIsGrid = false;
  static constexpr bool kIsDense = true;
  static constexpr bool kHasTokenMasks = false;
  static constexpr bool kHasAddends = false;
  static constexpr bool kMixesHeads = true;
  static constexpr Token kUnbounded = OneWindow::kUnbounded;

  Token keys = 0;  // keys of the sequence; nothing at or past it is ever visible
  Token left = kUnbounded;
  Token right = kUnbounded;
  Token offset = 0;  // keys - queries for bottom-right alignment, 0 for top-left
  Token sinkEnd = 0;  // keys before it stay visible when the window has moved past them
  HeadWindows heads{};  // where they differ: in place of left, right and sinkEnd
  Token firstKey = 0;  // from which their sink tokens count

  // As a single head has it, and where sink tokens end: at sinkEnd, or, where heads differ in theirs, before -sinkEnd
  // at the latest. One number, since a second one would be a register too many for a GPU's decode kernels.
  struct Sight : OneWindow::Sight {
    Token sinkEnd = 0;

    TW_HOST_DEVICE bool sinksDiffer() const { return sinkEnd < 0; }
    TW_HOST_DEVICE Token leastSinkEnd() const { return larger<Token>(sinkEnd, 0); }
    TW_HOST_DEVICE Token mostSinkEnd() const { return larger(sinkEnd, -sinkEnd); }
  };

  TW_HOST_DEVICE Sight look(int head, const Box<1>& queries) const {
    const OneWindow own = of(head);
    Sight sight{own.look(head, queries), own.sinkEnd};
    if (own.left + own.right < 0) sight.some.begin = sight.some.end;
    return sight;
  }
  // The same for heads of a range: what some query sees for some head, and what all see for all.
  TW_HOST_DEVICE Sight look(const Range& among, const Box<1>& queries) const {
    Sight sight = look(among.begin, queries);
    if (!heads.differ()) return sight;
    for (int32_t head = among.begin + 1; head < among.end; ++head) {
      const Sight one = look(head, queries);
      sight.some = hull(sight.some, one.some);
      sight.all = {larger(sight.all.begin, one.all.begin), smaller(sight.all.end, one.all.end)};
      if (sight.sinkEnd != one.sinkEnd) sight.sinkEnd = -larger(sight.mostSinkEnd(), one.sinkEnd);
    }
    return sight;
  }

  // As a single head's. Where heads differ in their sinks a run ends wherever those of some head do: a row sees one
  // range of each.
  TW_HOST_DEVICE int32_t runs(const Sight& sight) const {
    const int32_t runs = withSinks(sight.leastSinkEnd()).runs(sight);
    return sight.sinksDiffer() && runs > 1 ? heads.sinkSteps + 1 : runs;
  }
  TW_HOST_DEVICE KeyRun run(const Sight& sight, int32_t i) const {
    const OneWindow most = withSinks(sight.mostSinkEnd());
    if (!sight.sinksDiffer()) return most.run(sight, i);
    const bool isFirst = i == 0, isLast = i == heads.sinkSteps;
    const Range step{isFirst ? 0 : sinkEndOf(heads.sinkStep(i - 1)), isLast ? keys : sinkEndOf(heads.sinkStep(i))};
    KeyRun run = most.run(sight, step.begin < most.sinkEnd ? 0 : 1);
    if (runs(sight) > 1) run.places = intersect(run.places, step);
    return run;
  }

  TW_HOST_DEVICE Cut cut(const Sight& sight, const KeyRun& run) const {
    return {withSinks(sight.mostSinkEnd()).cut(sight, run).keys,
            withSinks(sight.leastSinkEnd()).cut(sight, run).interior};
  }

  TW_HOST_DEVICE PatternTraits traits() const {
    PatternTraits traits{"window"};
    traits.isDense = traits.hasStreamKernel = traits.hasDecodeKernel = traits.mixesHeads = true;
    traits.headsAlike = heads.differ() ? heads.alike : 0;
    return traits;
  }
  // The first head with this window.
  TW_HOST_DEVICE int64_t headClass(int head) const {
    if (!heads.differ()) return 0;
    const HeadWindow own = heads.of(head);
    int32_t first = 0;
    while (!isSame(own, heads.of(first))) ++first;
    return first;
  }
  TW_HOST_DEVICE bool areSame(int32_t a, int32_t b) const {
    return !heads.differ() || isSame(heads.of(a), heads.of(b));
  }
  TW_HOST_DEVICE Token visitedKeys() const { return keys; }

  TW_HOST_DEVICE OneWindow of(int head) const {
    if (!heads.differ()) return {keys, left, right, offset, sinkEnd};
    const HeadWindow own = heads.of(head);
    return {keys, own.left, own.right, offset, sinkEndOf(own.sinkTokens)};
  }

 private:
  // A window to ask about bands that are known.
  static TW_HOST_DEVICE OneWindow withSinks(Token sinkEnd) {
    OneWindow window;
    window.sinkEnd = sinkEnd;
    return window;
  }
  TW_HOST_DEVICE Token sinkEndOf(Token sinkTokens) const { return sinkTokens > 0 ? firstKey + sinkTokens : 0; }

  static TW_HOST_DEVICE Range hull(const Range& a, const Range& b) {
    return {smaller(a.begin, b.begin), larger(a.end, b.end)};
  }
  static TW_HOST_DEVICE bool isSame(const HeadWindow& a, const HeadWindow& b) {
    return a.left == b.left && a.right == b.right && a.sinkTokens == b.sinkTokens;
  }
};

}  // namespace tilewise
