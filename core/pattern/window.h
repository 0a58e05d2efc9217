// Window: causal masks, sliding windows and sink tokens, one struct for all of them; all heads have the same window, or
// each its own. Reader: start here. Every pattern has this shape, which core/pattern/key_run.h describes.
// Semantics: flash-attention's window_size and ONNX Attention-25's left/right_window_size (inclusive bounds around a
// query's position), StreamingLLM's sink tokens (arXiv 2309.17453).
#pragma once

#include "head_windows.h"
#include "key_run.h"

namespace tilewise {

// Query q has position q + offset among the keys and sees key k when
//     k <= q + offset + right   and   ( k >= q + offset - left   or   k < sinkEnd ).
// Full attention is left = right = kUnbounded; causal is right = 0. With left = -1 and right = 0 no band is left: a
// query sees sinks alone.
struct Window {
  static constexpr int kRank = 1;
  static constexpr bool kIsGrid = false;
  static constexpr bool kIsDense = true;
  static constexpr bool kHasTokenMasks = false;
  static constexpr bool kMixesHeads = true;
  static constexpr Token kUnbounded = kMaxTokens;

  Token keys = 0;  // keys of the sequence; nothing at or past it is ever visible
  Token left = kUnbounded;
  Token right = kUnbounded;
  Token offset = 0;  // keys - queries for bottom-right alignment, 0 for top-left
  Token sinkEnd = 0;  // keys before it stay visible when the window has moved past them
  HeadWindows heads{};  // where they differ: in place of left, right and sinkEnd
  Token firstKey = 0;  // from which their sink tokens count

  // The bands of the box's queries: their union and their intersection. Sink tokens end where these end, too: at
  // sinkEnd, or, where heads differ in theirs, before -sinkEnd at the latest. One number, since a second one would be a
  // register too many for a GPU's decode kernels.
  struct Sight {
    Range some, all;
    Token sinkEnd = 0;

    TW_HOST_DEVICE bool sinksDiffer() const { return sinkEnd < 0; }
    TW_HOST_DEVICE Token leastSinkEnd() const { return larger<Token>(sinkEnd, 0); }
    TW_HOST_DEVICE Token mostSinkEnd() const { return larger(sinkEnd, -sinkEnd); }
  };

  TW_HOST_DEVICE Sight look(int head, const Box<1>& queries) const {
    const Window own = of(head);
    Sight sight = own.bands(queries);
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

  // The sinks, then the band behind them; one run where every query's band reaches back to the sinks. Where heads
  // differ in their sinks a run ends wherever those of some head do: a row sees one range of each.
  TW_HOST_DEVICE int32_t runs(const Sight& sight) const {
    if (sight.all.begin <= sight.leastSinkEnd()) return 1;
    return sight.sinksDiffer() ? heads.sinkSteps + 1 : 2;
  }
  TW_HOST_DEVICE KeyRun run(const Sight& sight, int32_t i) const {
    if (sight.all.begin <= sight.leastSinkEnd()) return KeyRun{{0, sight.some.end}};
    const bool differ = sight.sinksDiffer(), isLast = i == (differ ? heads.sinkSteps : 1);
    const Token begin = i == 0 ? 0 : differ ? sinkEndOf(heads.sinkStep(i - 1)) : sight.sinkEnd;
    const Token end = isLast ? sight.some.end : differ ? sinkEndOf(heads.sinkStep(i)) : sight.sinkEnd;
    const Token first = begin < sight.mostSinkEnd() ? begin : larger(begin, sight.some.begin);
    return KeyRun{{first, smaller(end, sight.some.end)}};
  }

  TW_HOST_DEVICE Cut cut(const Sight& sight, const KeyRun& run) const {
    const Token first = run.places.begin;
    return cutRun(run, {first < sight.mostSinkEnd() ? 0 : sight.some.begin, sight.some.end},
                  {first < sight.sinkEnd ? 0 : sight.all.begin, sight.all.end});
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
  TW_HOST_DEVICE Token visitedKeys() const { return keys; }

  // The window of one head, in which heads do not differ.
  TW_HOST_DEVICE Window of(int head) const {
    if (!heads.differ()) return {keys, left, right, offset, sinkEnd};
    const HeadWindow own = heads.of(head);
    return {keys, own.left, own.right, offset, sinkEndOf(own.sinkTokens)};
  }
  // The bands where heads do not differ, from where the first query's would begin if it has none.
  TW_HOST_DEVICE Sight bands(const Box<1>& queries) const {
    const Token first = queries.axis[0].begin + offset, last = queries.axis[0].end - 1 + offset;
    return {{clamp<Token>(first - left, 0, keys), clamp<Token>(last + right + 1, 0, keys)},
            {clamp<Token>(last - left, 0, keys), clamp<Token>(first + right + 1, 0, keys)},
            sinkEnd};
  }

 private:
  TW_HOST_DEVICE Token sinkEndOf(Token sinkTokens) const { return sinkTokens > 0 ? firstKey + sinkTokens : 0; }

  static TW_HOST_DEVICE Range hull(const Range& a, const Range& b) {
    return {smaller(a.begin, b.begin), larger(a.end, b.end)};
  }
  static TW_HOST_DEVICE bool isSame(const HeadWindow& a, const HeadWindow& b) {
    return a.left == b.left && a.right == b.right && a.sinkTokens == b.sinkTokens;
  }
};

}  // namespace tilewise
