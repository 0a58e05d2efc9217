// TileRule and Plan: a processor's tiles, and what a pattern costs on them, as plain data. plan.h counts.
// Reader: someone who wants to know before running.
#pragma once

#include "../pattern/grid.h"

namespace tilewise {

// The unit in which a loop visits or skips: query tokens by keys.
struct TileShape {
  Token queries;
  Token keys;
};

// How the scores are cut into tiles, per axis of a grid; sequences have one axis.
struct TileRule {
  Token queries[kMaxRank] = {1, 1, 1};  // of a sequence: rows, that is tokens times headsPerTile
  Token keys[kMaxRank] = {1, 1, 1};
  bool isDynamic = false;  // tiles of keys begin where the query tile's own keys begin, not at multiples
  bool isCut = false;      // of a visited tile only the keys that some query of the query tile sees are computed
  int32_t headsPerTile = 1;   // consecutive heads whose rows share query tiles
  int64_t rowsPerBlock = 0;   // query tiles begin anew at multiples of this; 0: never
};

// Of one head, or of heads that share tiles.
struct TileCounts {
  int64_t queryTiles = 0;
  int64_t keyTiles = 0;  // of one query tile if every key were visited
  int64_t visited = 0;   // tiles of which some query sees some key
  int64_t interior = 0;  // visited tiles of which every query sees every key
  int64_t most = 0;      // tiles that one query tile visits at most
  // Pairs of a row of queries and a key.
  int64_t computed = 0;
  int64_t unmasked = 0;  // computed where every query of the tile sees the key
  int64_t useful = 0;    // visible

  // Adds `times` as many; keyTiles and most stay those of one query tile.
  void add(const TileCounts& c, int64_t times = 1) {
    queryTiles += times * c.queryTiles;
    keyTiles = c.keyTiles;
    visited += times * c.visited;
    interior += times * c.interior;
    most = larger(most, c.most);
    computed += times * c.computed;
    unmasked += times * c.unmasked;
    useful += times * c.useful;
  }
  // The counts of two independent axes together.
  TileCounts operator*(const TileCounts& c) const {
    return {queryTiles * c.queryTiles, keyTiles * c.keyTiles, visited * c.visited, interior * c.interior, most * c.most,
            computed * c.computed,     unmasked * c.unmasked, useful * c.useful};
  }
};

struct Plan {
  TileRule rule;
  TileCounts sum;           // over heads and batch entries; keyTiles and most are still those of one query tile
  int64_t maps = 0;         // how many columns of query tiles were added up: one per head, or per headsPerTile
  TileCounts worst;         // of the heads that compute the most pairs
  int32_t worstHead = 0;    // the first of them
  bool variesByHead = false;
  int64_t keysTouched = 0;  // keys that some query reads, counted once per KV head and batch entry
};

}  // namespace tilewise
