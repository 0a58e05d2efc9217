// TileRule: a processor's tiles, as plain data. Backends say theirs; core/plan counts by them.
// Reader: whoever adds a backend, or wonders what explain() counts.
#pragma once

#include "../pattern/grid.h"

namespace tilewise {

// The unit in which a loop visits or skips: query tokens by keys.
struct TileShape {
  Token queries;
  Token keys;
  int32_t heads = 1;  // that are taken together, each with as many queries
  bool sharesTables = false;  // what the score rules say to the first of these heads they say to all
};

// How the scores are cut into tiles, per axis of a grid; sequences have one axis.
struct TileRule {
  Token queries[kMaxRank] = {1, 1, 1};  // of a sequence: rows, that is tokens times headsPerTile
  Token keys[kMaxRank] = {1, 1, 1};
  bool isDynamic = false;  // tiles of keys begin where the query tile's own keys begin, not at multiples
  bool isCut = false;      // of a visited tile only the keys that some query of the query tile sees are computed
  int32_t headsPerTile = 1;   // consecutive heads whose rows share query tiles
  int64_t rowsPerBlock = 0;   // query tiles begin anew at multiples of this; 0: never
  Token maskKeys = 0;  // so many keys at once are left out where masks hide them from all of a tile; 0: none are
  bool isMaskedByLine = false;  // of a grid: so many of what a tile sees of one line of keys; else so many tokens
};

}  // namespace tilewise
