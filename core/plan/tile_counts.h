// Tile counts: which tiles of a sequence, or of one axis of a grid, a pattern visits; which it visits whole.
// Reader: someone who asks where explain()'s numbers come from. They come from the pattern's own rows and cuts, the
// ones that the loops run. Host only.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "tile_rule.h"
#include "../op/attention.h"
#include "../pattern/stretches.h"

namespace tilewise {

// Sets of keys as ranges, for what many tiles have in common.
class RangeSet {
 public:
  void add(const Range& range) {
    if (!ranges_.empty() && ranges_.back().contains(range)) return;
    ranges_.push_back(range);
    if (ranges_.size() > 2 * merged_ + 1024) merge();
  }
  void add(const RangeSet& other) {
    for (const Range& range : other.ranges_) add(range);
  }
  int64_t size() {
    merge();
    int64_t size = 0;
    for (const Range& range : ranges_) size += range.size();
    return size;
  }

 private:
  void merge() {
    std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    size_t count = 0;
    for (const Range& range : ranges_) {
      if (count > 0 && range.begin <= ranges_[count - 1].end) {
        ranges_[count - 1].end = larger(ranges_[count - 1].end, range.end);
      } else {
        ranges_[count++] = range;
      }
    }
    ranges_.resize(merged_ = count);
  }

  std::vector<Range> ranges_;
  size_t merged_ = 0;
};

// Keys of a run that some query of a box sees; interior: that every query sees. Loops may choose to mask a short
// interior all the same (core/pattern/stretches.h); counts are of what is visible.
template <class Pattern, class Visit>
void forEachStretch(const Pattern& pattern, int head, const Range& queries, Visit&& visit) {
  const typename Pattern::Sight sight = pattern.look(head, Box<1>{{queries}});
  forEachRun(pattern, sight, [&](const KeyRun& run) {
    const auto [keys, interior] = pattern.cut(sight, run);
    const Range before{keys.begin, interior.isEmpty() ? keys.end : interior.begin}, after{interior.end, keys.end};
    if (!before.isEmpty()) visit(Stretch{run.within(before), false});
    if (interior.isEmpty()) return;
    visit(Stretch{run.within(interior), true});
    if (!after.isEmpty()) visit(Stretch{run.within(after), false});
  });
}

// Keys that follow each other and that a query tile visits, with the interior parts.
struct TileKeys {
  Range keys;
  std::vector<Range> interior;
};

// The parts that a query tile sees as tileKeys, ascending. Lists and the window beside them may overlap.
inline std::vector<TileKeys> tileKeysOf(std::vector<Stretch>& parts) {
  const auto isBefore = [](const Stretch& a, const Stretch& b) { return a.run.places.begin < b.run.places.begin; };
  if (!std::is_sorted(parts.begin(), parts.end(), isBefore)) std::sort(parts.begin(), parts.end(), isBefore);
  std::vector<TileKeys> tileKeys;
  for (const auto& [run, isInterior] : parts) {
    if (tileKeys.empty() || run.places.begin > tileKeys.back().keys.end) tileKeys.push_back({run.places, {}});
    TileKeys& last = tileKeys.back();
    last.keys.end = larger(last.keys.end, run.places.end);
    if (!isInterior) continue;
    if (!last.interior.empty() && run.places.begin <= last.interior.back().end) {
      last.interior.back().end = larger(last.interior.back().end, run.places.end);
    } else {
      last.interior.push_back(run.places);
    }
  }
  return tileKeys;
}

// The mask of single tokens that a run has besides what cut() says: bytes of one query, or null.
inline const uint8_t* tokensOf(const BlockList& pattern, const KeyRun& run, Token query) {
  return pattern.tokens(run, query);
}
template <class Pattern>
const uint8_t* tokensOf(const Pattern&, const KeyRun&, Token) {
  return nullptr;
}

// Counts for one head, one query tile at a time.
template <class Pattern>
class TileCounter {
 public:
  TileCounter(const Pattern& pattern, int head, Token keys, Token width, const TileRule& rule)
      : pattern_(pattern), head_(head), keys_(keys), width_(width), rule_(rule) {
    counts.keyTiles = ceilDiv(keys, width);
  }

  // Adds a tile of `rows` rows; `rowsOf(q)` says how many of them belong to query q.
  template <class RowsOf>
  void add(const Range& queries, int64_t rows, RowsOf&& rowsOf) {
    parts_.clear();
    next_ = 0;
    forEachStretch(pattern_, head_, queries,
                   [&](const Stretch& part) { parts_.push_back(countPairs(part, queries, rows, rowsOf)); });
    const int64_t before = counts.visited;
    for (const TileKeys& tileKeys : tileKeysOf(parts_)) addTiles(tileKeys, rows);
    ++counts.queryTiles;
    counts.most = larger(counts.most, counts.visited - before);
  }

  TileCounts counts;
  RangeSet touched;

 private:
  // Returns the part as tiles have it: what has a mask of its own is no interior.
  template <class RowsOf>
  Stretch countPairs(const Stretch& part, const Range& queries, int64_t rows, RowsOf&& rowsOf) {
    const Range& keys = part.run.places;
    const bool isWhole = part.isInterior && !tokensOf(pattern_, part.run, queries.begin);
    touched.add(keys);
    if (rule_.isCut) {
      counts.computed += rows * keys.size();
      if (isWhole) counts.unmasked += rows * keys.size();
    }
    if (isWhole) {
      counts.useful += rows * keys.size();
      return {part.run, true};
    }
    for (Token q = queries.begin; q < queries.end; ++q) {
      const Range seen = pattern_.cut(pattern_.look(head_, Box<1>{{{q, q + 1}}}), part.run).keys;
      int64_t visible = seen.size();
      if (const uint8_t* tokens = tokensOf(pattern_, part.run, q)) {
        visible = 0;
        for (Token key = seen.begin; key < seen.end; ++key) visible += tokens[key - keys.begin] != 0;
      }
      counts.useful += rowsOf(q) * visible;
    }
    return {part.run, false};
  }

  void addTiles(const TileKeys& tileKeys, int64_t rows) {
    const Token origin = rule_.isDynamic ? tileKeys.keys.begin : 0, end = ceilDiv(tileKeys.keys.end - origin, width_);
    // Static: a tile may hold the end of one tileKeys and the beginning of the next.
    const Token begin = rule_.isDynamic ? 0 : larger(next_, tileKeys.keys.begin / width_);
    const auto keysUpTo = [&](Token tile) { return smaller<int64_t>(keys_, origin + int64_t(tile) * width_); };
    if (begin < end) {
      counts.visited += end - begin;
      if (!rule_.isCut) counts.computed += rows * (keysUpTo(end) - keysUpTo(begin));
      next_ = end;
    }
    for (const Range& interior : tileKeys.interior) {
      // Whole tiles. A short one at the end of the keys is whole where loops cut tiles; others mask what does not
      // exist.
      const Token first = ceilDiv(interior.begin - origin, width_);
      const bool endsShort = rule_.isCut && interior.end == keys_;
      const Token last = endsShort ? ceilDiv(keys_ - origin, width_) : (interior.end - origin) / width_;
      if (first >= last) continue;
      counts.interior += last - first;
      if (!rule_.isCut) counts.unmasked += rows * (keysUpTo(last) - keysUpTo(first));
    }
  }

  const Pattern& pattern_;
  const int head_;
  const Token keys_, width_;
  const TileRule& rule_;
  std::vector<Stretch> parts_;
  Token next_ = 0;  // first tile of the query tile that is not counted yet
};

struct Counted {
  TileCounts counts;
  RangeSet touched;
};

// A sequence: rows of `rule.headsPerTile` heads from `head` on, in tiles of rule.queries[0] rows.
template <class Pattern>
Counted countTiles(const Pattern& pattern, int head, Token queries, Token keys, const TileRule& rule) {
  TileCounter<Pattern> counter(pattern, head, keys, rule.keys[0], rule);
  const int64_t heads = rule.headsPerTile, rows = queries * heads;
  const int64_t perBlock = rule.rowsPerBlock > 0 ? rule.rowsPerBlock : larger<int64_t>(rows, 1);
  for (int64_t block = 0; block < rows; block += perBlock) {
    const int64_t blockEnd = smaller(rows, block + perBlock);
    for (int64_t begin = block; begin < blockEnd; begin += rule.queries[0]) {
      const int64_t end = smaller(blockEnd, begin + rule.queries[0]);
      const Range tokens{Token(begin / heads), Token(ceilDiv(end, heads))};
      counter.add(tokens, end - begin,
                  [&](Token q) { return smaller(end, (q + 1) * heads) - larger(begin, q * heads); });
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
  int32_t groupsPerStep = 1;
  for (int a = axis + 1; a < kMaxRank; ++a) groupsPerStep *= grid.dilation[a];
  for (Token residue = 0; residue < grid.dilation[axis]; ++residue) {
    const Neighborhood<1> alone = alongAxis(grid, residue * groupsPerStep, axis);
    const Token length = alone.axis[0].length;
    TileCounter<Neighborhood<1>> counter(alone, 0, length, rule.keys[axis], rule);
    for (Token begin = 0; begin < length; begin += rule.queries[axis]) {
      const Range queries{begin, smaller(length, begin + rule.queries[axis])};
      counter.add(queries, queries.size(), [](Token) { return 1; });
    }
    const TileCounts& c = counter.counts;
    sum.queryTiles += c.queryTiles;
    sum.keyTiles += c.keyTiles;
    sum.visited += c.visited;
    sum.interior += c.interior;
    sum.most = larger(sum.most, c.most);
    sum.computed += c.computed;
    sum.unmasked += c.unmasked;
    sum.useful += c.useful;
  }
  return sum;
}

}  // namespace tilewise
