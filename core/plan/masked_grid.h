// Tile counts of a grid where masks hide keys, or a gate closes rows: what a box of queries sees is then no product of
// what it sees along each axis. Reader: someone who asks where explain()'s numbers for a neighborhood with a mask come
// from. Boxes are taken one by one, and what one sees line by line, as the loops do. Host only.
#pragma once

#include <utility>
#include <vector>

#include "tile_counts.h"

namespace tilewise {

// The tiles of keys that one box of queries may visit, and the keys of each.
template <int Rank>
class GridTiles {
 public:
  GridTiles(const Neighborhood<Rank>& pattern, const typename Neighborhood<Rank>::Sight& sight, const TileRule& rule)
      : rule_(rule) {
    size_t count = 1;
    for (int a = 0; a < Rank; ++a) {
      const Range& some = sight.some[a];
      const Token origin = rule.isDynamic ? some.begin : 0, width = rule.keys[a];
      const Token first = (some.begin - origin) / width;
      axis_[a] = {origin + first * width, width, ceilDiv(some.end - origin, width) - first, pattern.axis[a].length};
      count *= size_t(axis_[a].tiles);
    }
    tiles_.resize(count);
  }

  // Adds keys of one line, the line's place on the other axes in at[].
  void add(const Stretch& stretch) {
    size_t line = 0;
    for (int a = 0; a < Rank - 1; ++a)
      line = line * size_t(axis_[a].tiles) + size_t(axis_[a].tileOf(stretch.run.at[a + kMaxRank - Rank]));
    const Axis& along = axis_[Rank - 1];
    for (Token place = stretch.run.places.begin; place < stretch.run.places.end;) {
      const Token tile = along.tileOf(place);
      const Token end = smaller(stretch.run.places.end, along.begin + (tile + 1) * along.width);
      Tile& of = tiles_[line * size_t(along.tiles) + size_t(tile)];
      of.keys += end - place;
      if (stretch.isInterior) of.interior += end - place;
      place = end;
    }
  }

  // Adds the tiles to the counts of a query tile of so many rows.
  void count(int64_t rows, TileCounts& counts) const {
    int64_t visited = 0;
    for (size_t i = 0; i < tiles_.size(); ++i) {
      if (tiles_[i].keys == 0) continue;
      ++visited;
      const auto [keys, whole] = sizesOf(i);
      // A tile that reaches past the keys is whole where loops cut tiles; others mask what does not exist.
      const bool isInterior = tiles_[i].interior == (rule_.isCut ? keys : whole);
      counts.interior += isInterior;
      counts.computed += rows * (rule_.isCut ? tiles_[i].keys : keys);
      counts.unmasked += rows * (rule_.isCut ? tiles_[i].interior : isInterior ? keys : 0);
    }
    counts.visited += visited;
    counts.most = larger(counts.most, visited);
  }

 private:
  struct Axis {
    Token begin, width, tiles, length;  // of the first tile; of each; how many; of the axis
    Token tileOf(Token place) const { return (place - begin) / width; }
  };
  struct Tile {
    int64_t keys = 0, interior = 0;
  };

  // Keys of a tile as far as there are any, and of a whole one.
  std::pair<int64_t, int64_t> sizesOf(size_t tile) const {
    int64_t keys = 1, whole = 1;
    for (int a = Rank - 1; a >= 0; --a) {
      const Token begin = axis_[a].begin + Token(tile % size_t(axis_[a].tiles)) * axis_[a].width;
      keys *= smaller(axis_[a].width, axis_[a].length - begin);
      whole *= axis_[a].width;
      tile /= size_t(axis_[a].tiles);
    }
    return {keys, whole};
  }

  Axis axis_[Rank];
  std::vector<Tile> tiles_;
  const TileRule& rule_;
};

// Counts for one head of a dilation group, one box of queries at a time.
template <int Rank>
class MaskedGroupCounter {
 public:
  using Pattern = Neighborhood<Rank>;

  MaskedGroupCounter(const Pattern& pattern, const HiddenKeys& hidden, int32_t head, const TileRule& rule,
                     Counted& counted)
      : pattern_(pattern), hidden_(hidden), rule_(rule), counted_(counted) {
    rows_.head = head;
  }

  void add(const Box<Rank>& box) {
    const typename Pattern::Sight sight = pattern_.look(rows_.head, box);
    lookAtQueries(box);
    GridTiles<Rank> tiles(pattern_, sight, rule_);
    forEachRun(pattern_, sight, [&](const KeyRun& run) {
      const auto [keys, interior] = pattern_.cut(sight, run);
      // All that the box sees of a line is asked together.
      hidden_.forEachLeft(rows_, Stretch{run.within(keys), true}, [&](const Stretch& left) {
        const Range& places = left.run.places;
        const auto part = [&](const Range& range, bool isSeenByAll) {
          const Stretch stretch{run.within(intersect(places, range)), isSeenByAll && left.isInterior};
          if (stretch.run.places.isEmpty()) return;
          tiles.add(stretch);
          countVisible(stretch);
        };
        part({places.begin, interior.begin}, false);
        part(interior, true);
        part({larger(interior.end, interior.begin), places.end}, false);
      });
    });
    tiles.count(rows_.size(), counted_.counts);
  }

 private:
  // The tokens of the box, and what each sees.
  void lookAtQueries(const Box<Rank>& box) {
    rows_.tokens.clear();
    sights_.clear();
    for (int64_t i = 0; i < box.size(); ++i) {
      Box<Rank> query;
      Token token = pattern_.origin;
      int64_t rest = i;
      for (int a = Rank - 1; a >= 0; --a) {
        const Token place = box.axis[a].begin + Token(rest % box.axis[a].size());
        rest /= box.axis[a].size();
        query.axis[a] = {place, place + 1};
        token += place * pattern_.step[a];
      }
      rows_.tokens.push_back(token);
      sights_.push_back(pattern_.look(rows_.head, query));
    }
  }

  void countVisible(const Stretch& stretch) {
    const KeyRun& run = stretch.run;
    if (run.step == 1) {
      counted_.touched.add({run.token(run.places.begin), run.token(run.places.end)});
    } else {
      for (Token place = run.places.begin; place < run.places.end; ++place)
        counted_.touched.add({run.token(place), run.token(place) + 1});
    }
    if (stretch.isInterior) {
      counted_.counts.useful += hidden_.openRows(rows_) * run.places.size();
      return;
    }
    for (size_t r = 0; r < sights_.size(); ++r) {
      const Range seen = pattern_.cut(sights_[r], run).keys;
      for (Token place = seen.begin; place < seen.end; ++place)
        counted_.counts.useful += !hidden_.hides(rows_.head, rows_.tokens[r], run.token(place));
    }
  }

  const Pattern& pattern_;
  const HiddenKeys& hidden_;
  const TileRule& rule_;
  Counted& counted_;
  GridRows rows_;
  std::vector<typename Pattern::Sight> sights_;  // of each row
};

// A head of one batch entry: all dilation groups.
template <int Rank>
Counted countMaskedGrid(const Grid& grid, const HiddenKeys& hidden, int32_t head, const TileRule& rule) {
  const TileCounts open = countAxes(grid, rule);
  Counted counted;
  counted.counts.queryTiles = open.queryTiles;
  counted.counts.keyTiles = open.keyTiles;
  for (int32_t group = 0; group < grid.groups(); ++group) {
    const Neighborhood<Rank> pattern = neighborhoodOf<Rank>(grid, group);
    MaskedGroupCounter<Rank> counter(pattern, hidden, head, rule, counted);
    int64_t boxes = 1;
    for (int a = 0; a < Rank; ++a) boxes *= ceilDiv(pattern.axis[a].length, rule.queries[a]);
    for (int64_t i = 0; i < boxes; ++i) {
      Box<Rank> box;
      int64_t rest = i;
      for (int a = Rank - 1; a >= 0; --a) {
        const Token length = pattern.axis[a].length, perAxis = ceilDiv(length, rule.queries[a]);
        const Token begin = Token(rest % perAxis) * rule.queries[a];
        rest /= perAxis;
        box.axis[a] = {begin, smaller(length, begin + rule.queries[a])};
      }
      counter.add(box);
    }
  }
  return counted;
}

}  // namespace tilewise
