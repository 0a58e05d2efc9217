// Tile counts: which tiles of a sequence, or of one axis of a grid, a pattern visits; which it visits whole.
// Reader: someone who asks where explain()'s numbers come from. They come from the pattern's own runs and cuts, the
// ones that the loops take. Host only.
#pragma once

#include <utility>
#include <vector>

#include "../op/tile_rule.h"
#include "hidden_keys.h"
#include "range_set.h"
#include "seen_keys.h"

namespace tilewise {

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

// The tiles of keys that one query tile visits, taken from what it sees, in order: where tiles begin at multiples of
// their width, one may hold the end of some keys and the beginning of the next.
class KeyTiles {
 public:
  KeyTiles(Token keys, Token width, const TileRule& rule) : keys_(keys), width_(width), rule_(rule) {}

  // The first key of tile 0.
  Token origin(const SeenKeys& seen) const { return rule_.isDynamic ? seen.keys.begin : 0; }
  // The first key of a tile counted from an origin, or where keys end.
  Token keysUpTo(Token origin, Token tile) const {
    return Token(smaller<int64_t>(keys_, origin + int64_t(tile) * width_));
  }

  // Returns the tiles that these keys visit and none before them did. Calls visit(Range) for tiles that every query
  // sees whole.
  template <class Visit>
  Range take(const SeenKeys& seen, Visit&& visit) {
    const Token origin = this->origin(seen), end = ceilDiv(seen.keys.end - origin, width_);
    const Token begin = rule_.isDynamic ? 0 : larger(next_, seen.keys.begin / width_);
    if (begin < end) next_ = end;
    for (const Range& interior : seen.interior) {
      // A short one at the end of the keys is whole where loops cut tiles; others mask what does not exist.
      const Token first = ceilDiv(interior.begin - origin, width_);
      const bool endsShort = rule_.isCut && interior.end == keys_;
      const Token last = endsShort ? ceilDiv(keys_ - origin, width_) : (interior.end - origin) / width_;
      if (first < last) visit(Range{first, last});
    }
    return {begin, larger(begin, end)};
  }

 private:
  const Token keys_, width_;
  const TileRule& rule_;
  Token next_ = 0;  // the first tile that is not taken yet
};

// Counts for one head, one query tile at a time.
template <class Pattern>
class TileCounter {
 public:
  TileCounter(const Pattern& pattern, const HiddenKeys& hidden, Token keys, Token width, const TileRule& rule)
      : pattern_(pattern), hidden_(hidden), keys_(keys), width_(width), rule_(rule) {
    counts.keyTiles = ceilDiv(keys, width);
  }

  // Adds a tile.
  void add(const TileRows& rows) {
    stretches_.clear();
    forEachSeen(pattern_, rows.headsOf(), rows.queries(), [&](const Stretch& seen) {
      hidden_.forEachLeft(rows, seen, [&](const Stretch& stretch) {
        countPairs(stretch, rows);
        stretches_.push_back(stretch);
      });
    });
    const int64_t before = counts.visited;
    KeyTiles tiles(keys_, width_, rule_);
    forEachJoined(stretches_, [&](const SeenKeys& seen) { addTiles(tiles, seen, rows.size()); });
    ++counts.queryTiles;
    counts.most = larger(counts.most, counts.visited - before);
  }

  TileCounts counts;
  RangeSet touched;

 private:
  void countPairs(const Stretch& stretch, const TileRows& rows) {
    const Range& keys = stretch.run.places;
    const int64_t pairs = rows.size() * keys.size();
    touched.add(keys);
    if (rule_.isCut) {
      counts.computed += pairs;
      if (stretch.isInterior) counts.unmasked += pairs;
    }
    if (stretch.isInterior) {
      counts.useful += hidden_.openRows(rows) * keys.size();
      return;
    }
    const Range queries = rows.queries();
    const bool areAlike = pattern_.traits().areAlike(rows.heads);
    for (Token q = queries.begin; q < queries.end; ++q) {
      TileRows left = rows.of(q);
      while (left.size() > 0) {
        TileRows own = left;
        if (!areAlike) own.end = own.begin + 1;
        countVisible(stretch, own, q);
        left.begin = own.end;
      }
    }
  }

  // Adds what rows of one query see, of heads that see the same.
  void countVisible(const Stretch& stretch, const TileRows& rows, Token query) {
    const auto sight = pattern_.look(rows.headOf(rows.begin), Box<1>{{{query, query + 1}}});
    const Range seen = pattern_.cut(sight, stretch.run).keys;
    const uint8_t* tokens = tokenMask(pattern_, stretch.run, query);
    if (!tokens && !hidden_.areAny()) {
      counts.useful += rows.size() * seen.size();
      return;
    }
    for (Token key = seen.begin; key < seen.end; ++key) {
      if (!tokens || tokens[key - stretch.run.places.begin]) counts.useful += hidden_.rowsThatSee(rows, query, key);
    }
  }

  void addTiles(KeyTiles& tiles, const SeenKeys& seen, int64_t rows) {
    const Token origin = tiles.origin(seen);
    const auto pairs = [&](const Range& range) {
      return rule_.isCut ? 0 : rows * (tiles.keysUpTo(origin, range.end) - tiles.keysUpTo(origin, range.begin));
    };
    const Range visited = tiles.take(seen, [&](const Range& whole) {
      counts.interior += whole.size();
      counts.unmasked += pairs(whole);
    });
    counts.visited += visited.size();
    counts.computed += pairs(visited);
  }

  const Pattern& pattern_;
  const HiddenKeys& hidden_;
  const Token keys_, width_;
  const TileRule& rule_;
  std::vector<Stretch> stretches_;
};

struct Counted {
  TileCounts counts;
  RangeSet touched;
};

// A sequence: rows of `rule.headsPerTile` heads from `head` on, in tiles of rule.queries[0] rows.
template <class Pattern>
Counted countTiles(const Pattern& pattern, const HiddenKeys& hidden, int32_t head, const Sequence& sequence,
                   const TileRule& rule) {
  TileCounter<Pattern> counter(pattern, hidden, sequence.keys.size(), rule.keys[0], rule);
  const int64_t rows = int64_t(sequence.queries.size()) * rule.headsPerTile;
  const int64_t perBlock = rule.rowsPerBlock > 0 ? rule.rowsPerBlock : larger<int64_t>(rows, 1);
  for (int64_t block = 0; block < rows; block += perBlock) {
    const int64_t blockEnd = smaller(rows, block + perBlock);
    for (int64_t begin = block; begin < blockEnd; begin += rule.queries[0]) {
      counter.add({head, begin, smaller(blockEnd, begin + rule.queries[0]), rule.headsPerTile});
    }
  }
  return {counter.counts, std::move(counter.touched)};
}

// One axis of a dilation group: a neighborhood is the product of its axes.
inline Neighborhood<1> alongAxis(const Grid& grid, int32_t group, int axis) {
  Neighborhood<1> alone;
  alone.axis[0] = neighborhoodOf<kMaxRank>(grid, group).axis[axis];
  alone.step[0] = 1;
  return alone;
}

// One axis of a grid, its dilation groups summed. Counts of a grid are the products of its axes'.
inline TileCounts countAxis(const Grid& grid, int axis, const TileRule& rule) {
  TileCounts sum;
  const HiddenKeys none;
  int32_t groupsPerStep = 1;
  for (int a = axis + 1; a < kMaxRank; ++a) groupsPerStep *= grid.dilation[a];
  for (Token residue = 0; residue < grid.dilation[axis]; ++residue) {
    const Neighborhood<1> alone = alongAxis(grid, residue * groupsPerStep, axis);
    const Token length = alone.axis[0].length;
    TileCounter<Neighborhood<1>> counter(alone, none, length, rule.keys[axis], rule);
    for (Token begin = 0; begin < length; begin += rule.queries[axis]) {
      counter.add({0, begin, smaller(length, begin + rule.queries[axis]), 1});
    }
    const int64_t keyTiles = sum.keyTiles + counter.counts.keyTiles;  // each group has keys of its own
    sum.add(counter.counts);
    sum.keyTiles = keyTiles;
  }
  return sum;
}

// All axes together.
inline TileCounts countAxes(const Grid& grid, const TileRule& rule) {
  TileCounts counts = countAxis(grid, 0, rule);
  for (int a = 1; a < grid.rank; ++a) counts = counts * countAxis(grid, a, rule);
  return counts;
}

}  // namespace tilewise
