// explain: what a pattern costs on a processor's tiles, counted with the pattern's own regions.
// Reader: someone who wants to know before running. Cannot drift from the kernels: it cuts the same geometry.
#pragma once

#include <string>
#include <vector>

#include "problem.h"
#include "visits.h"

namespace tilewise {

// The unit in which a loop visits or skips: query tokens by keys.
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

// Takes time proportional to the number of queries: runs are counted whole, not tile by tile.
template <class Pattern>
void addToPlan(const Pattern& pattern, Token queries, Token keys, Plan& plan) {
  const Token width = plan.shape.keys, tilesPerRow = ceilDiv(keys, width);
  for (Token q0 = 0; q0 < queries; q0 += plan.shape.queries) {
    const Box<1> tile{{{q0, smaller(queries, q0 + plan.shape.queries)}}};
    Token visited = 0, covered = 0, next = 0;  // tiles, keys of those tiles, first tile not counted yet
    forEachRun(pattern, 0, tile, [&](const Run& run) {
      const Range keysOfRun = run.row.places;
      const Token begin = larger(next, keysOfRun.begin / width), end = ceilDiv(keysOfRun.end, width);
      if (begin < end) {
        visited += end - begin;
        covered += smaller(keys, end * width) - begin * width;
        next = end;
      }
      if (!run.isInterior) return;
      // Whole tiles of the run; the last tile of the sequence is whole where the sequence ends.
      const Token wholeEnd = keysOfRun.end == keys ? tilesPerRow : keysOfRun.end / width;
      plan.tilesInterior += larger<Token>(0, wholeEnd - ceilDiv(keysOfRun.begin, width));
    });
    ++plan.queryTiles;
    plan.tilesDense += tilesPerRow;
    plan.tilesVisited += visited;
    plan.pairsComputed += tile.size() * covered;
    plan.pairsDense += tile.size() * keys;
    if (tilesPerRow > 0) plan.worstShare = larger(plan.worstShare, double(visited) / tilesPerRow);
    for (Token q = tile.axis[0].begin; q < tile.axis[0].end; ++q) {
      forEachRun(pattern, 0, Box<1>{{{q, q + 1}}}, [&](const Run& run) { plan.pairsUseful += run.row.places.size(); });
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
