// RangeTiles: how the CPU tiles a problem of ranges. Its runs are planned for tiles of one height, which the problem
// decides and no thread. Reader: someone who asks why documents and power() get the tiles that they get.
#pragma once

#include <numeric>

#include "../../core/op/attention.h"
#include "tuning.h"

namespace tilewise::cpu {

// Keys that one of two rows of ranges sees and the other does not.
inline int64_t differenceOf(const Range* a, const Range* endA, const Range* b, const Range* endB) {
  int64_t keys = 0, common = 0;
  for (const Range* r = a; r < endA; ++r) keys += r->size();
  for (const Range* r = b; r < endB; ++r) keys += r->size();
  while (a < endA && b < endB) {
    common += larger<Token>(0, intersect(*a, *b).size());
    if (a->end < b->end) {
      ++a;
    } else {
      ++b;
    }
  }
  return keys - 2 * common;
}

struct RangeTiles {
  Token queries;  // of a tile
  bool areLong;  // the queries that see about the same keys are worth wide panels

  // As the first head's ranges are: those of others are alike, or any choice will do.
  explicit RangeTiles(const AttentionProblem& p) {
    const RangeTables& tables = p.ranges;
    Token jumps = 0, step = 0;
    for (Token row = 1; tables.offsets && row < p.queries; ++row) {
      const int32_t* const offsets = tables.offsets + row;
      const Range *const before = tables.ranges + offsets[-1], *const own = tables.ranges + offsets[0];
      if (differenceOf(before, own, own, tables.ranges + offsets[1]) <= kLeastJump) continue;
      ++jumps;
      step = std::gcd(step, row);
    }
    areLong = p.queries / (jumps + 1) >= kWideFromRows;
    const int64_t share = int64_t(p.queries) * p.outputHeads() * p.sequences / kRangeTiles;
    const Token tallest = Token(clamp<int64_t>(share / kRangePanels * kRangePanels, kRangePanels, kTallestRanges));
    // Tiles end where ranges jump, if jumps are that regular.
    if (areLong || step < kLeastJump) {
      queries = tallest;
    } else if (step < kSparseQueries) {
      queries = larger<Token>(1, tallest / step) * step;
    } else {
      queries = ceilDiv(step, ceilDiv(step, larger<Token>(tallest, kSparseQueries)));
    }
  }
};

}  // namespace tilewise::cpu
