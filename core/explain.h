// explain: what a pattern costs on a processor's tiles, counted with the pattern's own regions.
// Reader: someone who wants to know before running. Cannot drift from the kernels: it cuts the same geometry.
#pragma once

#include <string>
#include <vector>

#include "problem.h"
#include "visits.h"

namespace tilewise {

struct TileShape {
  Token queries;
  Token keys;
};

// Counts for one head of every sequence, summed; multiply by heads for the whole call. Tiles lie on a grid of
// `shape.keys` keys, as dense attention would cut them.
struct Plan {
  TileShape shape{};
  int64_t queryTiles = 0;
  int64_t tilesDense = 0;     // tiles if every key were visited
  int64_t tilesVisited = 0;   // tiles with at least one visible pair's key range
  int64_t tilesInterior = 0;  // of those, tiles that run without a mask
  int64_t pairsDense = 0;
  int64_t pairsComputed = 0;  // (query, key) pairs in visited tiles
  int64_t pairsUseful = 0;    // pairs the pattern allows
  double worstShare = 0;      // largest share of its dense tiles that one query tile visits
};

template <class Pattern>
void addToPlan(const Pattern& pattern, Token queries, Token keys, Plan& plan) {
  const Token tilesPerRow = ceilDiv(keys, plan.shape.keys);
  for (Token q0 = 0; q0 < queries; q0 += plan.shape.queries) {
    const Box<1> tile{{{q0, smaller(queries, q0 + plan.shape.queries)}}};
    const int64_t rows = tile.size();
    int64_t visited = 0;
    for (Token t = 0; t < tilesPerRow; ++t) {
      const Range span{t * plan.shape.keys, smaller(keys, (t + 1) * plan.shape.keys)};
      Token covered = 0, interior = 0;
      forEachRun(pattern, 0, tile, span, [&](const Run& run) {
        covered += run.keys.size();
        if (run.isInterior) interior += run.keys.size();
      });
      if (covered == 0) continue;
      ++visited;
      plan.tilesInterior += interior == span.size();
      plan.pairsComputed += rows * span.size();
    }
    ++plan.queryTiles;
    plan.tilesDense += tilesPerRow;
    plan.tilesVisited += visited;
    plan.pairsDense += rows * keys;
    if (tilesPerRow > 0) plan.worstShare = larger(plan.worstShare, double(visited) / tilesPerRow);
    for (Token q = tile.axis[0].begin; q < tile.axis[0].end; ++q) {
      forEachRun(pattern, 0, Box<1>{{{q, q + 1}}}, {0, keys},
                 [&](const Run& run) { plan.pairsUseful += run.keys.size(); });
    }
  }
}

inline Plan explain(const Problem& problem, TileShape shape) {
  Plan plan;
  plan.shape = shape;
  for (int32_t s = 0; s < problem.sequences; ++s) {
    const Sequence sequence = problem.sequence(s);
    const Token queries = sequence.queries.size(), keys = sequence.keys.size();
    addToPlan(windowOf(problem.window, queries, keys), queries, keys, plan);
  }
  return plan;
}

}  // namespace tilewise
