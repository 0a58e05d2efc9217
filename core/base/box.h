// Boxes of tokens: half-open ranges per axis. Reader: anyone writing a pattern or a loop.
#pragma once

#include "platform.h"

namespace tilewise {

constexpr int kMaxRank = 3;  // axes of a grid of tokens, at most

struct Range {
  Token begin = 0;
  Token end = 0;

  TW_HOST_DEVICE Token size() const { return larger<Token>(end - begin, 0); }
  TW_HOST_DEVICE bool isEmpty() const { return end <= begin; }
  TW_HOST_DEVICE bool contains(Token t) const { return begin <= t && t < end; }
  TW_HOST_DEVICE bool contains(const Range& r) const { return r.isEmpty() || (begin <= r.begin && r.end <= end); }
};

TW_HOST_DEVICE Range intersect(const Range& a, const Range& b) {
  const Token begin = larger(a.begin, b.begin);
  return {begin, larger(begin, smaller(a.end, b.end))};
}

template <int Rank>
struct Box {
  Range axis[Rank];

  TW_HOST_DEVICE int64_t size() const {
    int64_t n = 1;
    for (int a = 0; a < Rank; ++a) n *= axis[a].size();
    return n;
  }
  TW_HOST_DEVICE bool isEmpty() const { return size() == 0; }
};

}  // namespace tilewise
