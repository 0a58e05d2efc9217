// Window: causal masks, sliding windows and sink tokens, one struct for all of them.
// Reader: start here. Every pattern has this shape: a POD with regions() and allows(), the one statement of its rule.
// Semantics: flash-attention's window_size and ONNX Attention-25's left/right_window_size (inclusive bounds around a
// query's position), StreamingLLM's sink tokens (arXiv 2309.17453).
#pragma once

#include "../box.h"

namespace tilewise {

// Query q stands at position q + offset among the keys and sees key k when
//     k <= q + offset + right   and   ( k >= q + offset - left   or   k < sink ).
// Full attention is left = right = kUnbounded; causal is right = 0.
struct Window {
  static constexpr int kRank = 1;
  static constexpr Token kUnbounded = kMaxTokens;

  Token keys = 0;    // keys of the sequence; nothing at or past it is ever visible
  Token left = kUnbounded;
  Token right = kUnbounded;
  Token offset = 0;  // keys - queries for bottom-right alignment, 0 for top-left
  Token sink = 0;    // leading keys that stay visible when the window has moved past them

  TW_HOST_DEVICE Token position(Token query) const { return query + offset; }

  TW_HOST_DEVICE bool allows(int /*head*/, Token query, Token key) const {
    const Token p = position(query);
    return (key <= p + right) & ((key >= p - left) | (key < sink)) & (key < keys);
  }

  static constexpr int kMaxRegions = 2;

  // The sinks that lie before the band, then the band. Returns how many of the two are not empty.
  TW_HOST_DEVICE int regions(int /*head*/, const Box<1>& queries, Region<1> (&out)[kMaxRegions]) const {
    if (queries.isEmpty()) return 0;
    const Token first = position(queries.axis[0].begin), last = position(queries.axis[0].end - 1);
    const Token reach = clamp<Token>(last + right + 1, 0, keys);        // past the last key any query sees
    const Token shared = clamp<Token>(first + right + 1, 0, keys);      // past the last key all queries see
    const Token bandBegin = clamp<Token>(first - left, 0, reach);
    int n = 0;
    const Range sinks{0, smaller(sink, bandBegin)};
    if (!sinks.isEmpty()) out[n++] = {{{sinks}}, {{intersect(sinks, {0, shared})}}};
    const Range band{bandBegin, reach};
    if (!band.isEmpty()) out[n++] = {{{band}}, {{intersect(band, {last - left, shared})}}};
    return n;
  }
};

}  // namespace tilewise
