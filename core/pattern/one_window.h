// OneWindow: the window of one head, or of all alike: causal masks, sliding windows and sink tokens.
// Reader: start here. Every pattern has this shape, which core/pattern/key_run.h describes.
// Semantics: flash-attention's window_size and ONNX Attention-25's left/right_window_size (inclusive bounds around a
// query's position), StreamingLLM's sink tokens (arXiv 2309.17453).
#pragma once

#include "key_run.h"

namespace tilewise {

// Query q has position q + offset among the keys and sees key k when
//     k <= q + offset + right   and   ( k >= q + offset - left   or   k < sinkEnd ).
// Full attention is left = right = kUnbounded; causal is right = 0. With left = -1 and right = 0 no band is left: a
// query sees sinks alone.
struct OneWindow {
  static constexpr int kRank = 1;
  static constexpr bool kIsGrid = false;
  static constexpr bool kIsDense = true;
  static constexpr bool kHasTokenMasks = false;
  static constexpr bool kHasAddends = false;
  static constexpr bool kMixesHeads = false;
  static constexpr Token kUnbounded = kMaxTokens;

  Token keys = 0;  // keys of the sequence; nothing at or past it is ever visible
  Token left = kUnbounded;
  Token right = kUnbounded;
  Token offset = 0;  // keys - queries for bottom-right alignment, 0 for top-left
  Token sinkEnd = 0;  // keys before it stay visible when the window has moved past them

  // The bands of the box's queries: their union and their intersection. Sink tokens end where these end, too.
  struct Sight {
    Range some, all;
  };

  TW_HOST_DEVICE Sight look(int /*head*/, const Box<1>& queries) const {
    const Token first = queries.axis[0].begin + offset, last = queries.axis[0].end - 1 + offset;
    return {{clamp<Token>(first - left, 0, keys), clamp<Token>(last + right + 1, 0, keys)},
            {clamp<Token>(last - left, 0, keys), clamp<Token>(first + right + 1, 0, keys)}};
  }

  // The sinks, then the band behind them; one run where every query's band reaches back to the sinks.
  TW_HOST_DEVICE int32_t runs(const Sight& sight) const { return sight.all.begin <= sinkEnd ? 1 : 2; }
  TW_HOST_DEVICE KeyRun run(const Sight& sight, int32_t i) const {
    if (sight.all.begin <= sinkEnd) return KeyRun{{0, sight.some.end}};
    if (i == 0) return KeyRun{{0, smaller(sinkEnd, sight.some.end)}};
    return KeyRun{{larger(sinkEnd, sight.some.begin), sight.some.end}};
  }

  TW_HOST_DEVICE Cut cut(const Sight& sight, const KeyRun& run) const {
    const bool isOfSinks = run.places.begin < sinkEnd;
    return cutRun(run, {isOfSinks ? 0 : sight.some.begin, sight.some.end},
                  {isOfSinks ? 0 : sight.all.begin, sight.all.end});
  }
};

}  // namespace tilewise
