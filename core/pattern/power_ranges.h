// PowerByPosition: blocks at distances that are powers of two, behind a window of blocks and the leading ones. Reader:
// someone who follows power() into ranges. Semantics: PowerAttention (arXiv 2503.03588), blocks counted by position, so
// that a prompt in chunks and single tokens see what the whole prompt would.
#pragma once

#include "position_ranges.h"

namespace tilewise {

// A query at position p, in block floor(p / block), sees a key up to p when it is in one of the first `sinkBlocks`
// blocks from position 0, or when its block is 0, 1, 2, 4, 8 ... or fewer than `window` blocks before that of the
// query.
struct PowerByPosition {
  int64_t block = 1, window = 0, sinkBlocks = 0;

  template <class See>
  void positions(int64_t position, int64_t first, See&& see) const {
    const int64_t own = blockOf(position), farthest = own - blockOf(first);
    bool areSinksSeen = false;
    const auto seeInTurn = [&](int64_t begin, int64_t end) {
      if (begin > 0 && !areSinksSeen) {
        see(0, smaller(sinkBlocks * block, position + 1));
        areSinksSeen = true;
      }
      see(begin, end);
    };
    int64_t distance = 1;
    while (distance <= farthest / 2) distance *= 2;
    for (; distance >= larger<int64_t>(window, 1); distance /= 2) {
      if (distance <= farthest) seeInTurn((own - distance) * block, (own - distance + 1) * block);
    }
    seeInTurn((own - larger<int64_t>(window - 1, 0)) * block, position + 1);
  }

 private:
  int64_t blockOf(int64_t position) const {
    return position >= 0 ? position / block : -((block - 1 - position) / block);
  }
};

}  // namespace tilewise
