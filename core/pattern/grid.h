// Grid: the 1-D, 2-D or 3-D arrangement of tokens that neighborhoods look at, and its dilation groups.
// Reader: someone who follows a neighborhood from options to tiles. A dilation group is every d-th token of each axis:
// a smaller grid with longer steps, so that dilation is a view and costs nothing.
#pragma once

#include "neighborhood.h"

namespace tilewise {

// Axes are outermost first; unused ones have length 1.
struct Grid {
  int32_t rank = 0;
  Token length[kMaxRank] = {1, 1, 1};
  Token kernel[kMaxRank] = {1, 1, 1};
  Token stride[kMaxRank] = {1, 1, 1};
  Token dilation[kMaxRank] = {1, 1, 1};
  bool isCausal[kMaxRank] = {false, false, false};
  bool isClipped = false;  // windows are cut at the edges, not shifted

  TW_HOST_DEVICE int32_t groups() const { return dilation[0] * dilation[1] * dilation[2]; }
  // Longest dilation group of an axis.
  TW_HOST_DEVICE Token groupLength(int axis) const { return ceilDiv(length[axis], dilation[axis]); }
};

// The neighborhood within dilation group `group`, the last axis counting fastest.
template <int Rank>
TW_HOST_DEVICE Neighborhood<Rank> neighborhoodOf(const Grid& grid, int32_t group) {
  Neighborhood<Rank> n;
  Token step = 1;
  for (int a = Rank - 1; a >= 0; --a) {
    const Token d = grid.dilation[a], residue = group % d;
    group /= d;
    n.axis[a] = {(grid.length[a] - residue + d - 1) / d, grid.kernel[a],
                 grid.isClipped ? -grid.stride[a] : grid.stride[a], grid.isCausal[a]};
    n.origin += residue * step;
    n.step[a] = d * step;
    step *= grid.length[a];
  }
  return n;
}

// A grid's own axes come first and unused ones last. As three axes the unused ones come first: the last axis is then
// the one whose keys follow each other in memory.
inline Grid asRank3(const Grid& grid) {
  Grid g;
  g.rank = kMaxRank;
  g.isClipped = grid.isClipped;
  for (int a = 0; a < grid.rank; ++a) {
    const int to = a + kMaxRank - grid.rank;
    g.length[to] = grid.length[a];
    g.kernel[to] = grid.kernel[a];
    g.stride[to] = grid.stride[a];
    g.dilation[to] = grid.dilation[a];
    g.isCausal[to] = grid.isCausal[a];
  }
  return g;
}

// Boxes of `size` queries along an axis: the keys that they visit, summed, and how many boxes there are.
struct AxisCost {
  int64_t keys = 0;
  int64_t boxes = 0;
};
inline AxisCost costOf(const NeighborhoodAxis& axis, Token size) {
  AxisCost cost;
  for (Token i = 0; i < axis.length; i += size) {
    cost.keys += axis.window(smaller(i + size, axis.length) - 1).end - axis.window(i).begin;
    ++cost.boxes;
  }
  return cost;
}

// The box of `queries` queries whose boxes visit the fewest keys in all, on three axes. Each run of keys costs as much
// as `perRun` keys more. Small windows get compact boxes by themselves (4x4 for 7x7), full axes long ones.
inline void chooseBox(const Grid& grid, Token queries, double perRun, Token (&box)[kMaxRank]) {
  const Neighborhood<kMaxRank> pattern = neighborhoodOf<kMaxRank>(grid, 0);
  double least = 0;
  for (Token a = 1; a <= queries; ++a) {
    if (queries % a != 0) continue;
    for (Token b = 1; b <= queries / a; ++b) {
      if (queries / a % b != 0) continue;
      const Token size[kMaxRank] = {a, b, queries / a / b};
      AxisCost cost[kMaxRank];
      for (int i = 0; i < kMaxRank; ++i) cost[i] = costOf(pattern.axis[i], size[i]);
      const double runs = double(cost[0].keys) * double(cost[1].keys);
      const double total = runs * (double(cost[2].keys) + perRun * double(cost[2].boxes));
      if (least > 0 && total >= least) continue;
      least = total;
      for (int i = 0; i < kMaxRank; ++i) box[i] = size[i];
    }
  }
}

// The queries of a grid that one tile takes: a box of places of a dilation group, cut into boxes of one panel each.
struct GridTile {
  int32_t group = 0;
  Box<kMaxRank> queries;  // may reach past the group, or be outside of it
  Token panel[kMaxRank] = {1, 1, 1};
};

}  // namespace tilewise
