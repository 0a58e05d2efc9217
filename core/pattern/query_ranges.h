// QueryRanges: every query has a list of ranges of keys, and sees the keys in them.
// Reader: someone who reads window.h next. One query sees its own ranges. A tile of queries sees the runs that
// core/plan/range_runs.h has planned for it: of each run, every query sees one range at most.
// The masks of LongCA-bench (documents, prefixes, shared questions), PowerAttention's (arXiv 2503.03588), explicit
// positions: whatever is a few ranges of keys per query.
#pragma once

#include "key_run.h"

namespace tilewise {

// Keys of which a query of a tile sees one range at most; all its queries see the interior.
struct RangeRun {
  Range keys, interior;
};

// The ranges as plain data, always on the host. Table (batch, head) has a row of ranges for each query, and a list of
// runs for each tile of queries.
struct RangeTables {
  int32_t headsPerTable = 1;  // consecutive heads that share a table
  int64_t byBatch = 0, byHead = 0;  // tables from batch entry to batch entry, from one such group to the next
  const int32_t* offsets = nullptr;  // per row: its first range; of row r, ranges offsets[r] to offsets[r + 1]
  const Range* ranges = nullptr;     // of a row: ascending, none empty, with a key between each two
  // Planned by whoever runs or counts the problem.
  Token tileQueries = 0;  // queries per tile; 0: nothing is planned, and queries are asked one by one
  const int32_t* runOffsets = nullptr;  // per tile, likewise
  const RangeRun* runs = nullptr;       // of a tile: ascending

  // How many tables a call reads: the last head's last one and all before it.
  TW_HOST_DEVICE int64_t count(int64_t batch, int32_t heads) const {
    return batch == 0 ? 0 : (batch - 1) * byBatch + (heads - 1) / headsPerTable * byHead + 1;
  }

  // Calls visit(list, length) for the lists that so many queries read.
  template <class Visit>
  void forEachList(int64_t batch, int32_t heads, Token queries, Visit&& visit) {
    if (!offsets) return;
    const int64_t tables = count(batch, heads), rows = tables * queries;
    visit(ranges, offsets[rows]);
    visit(offsets, rows + 1);
    if (tileQueries == 0) return;
    const int64_t tiles = tables * ceilDiv(queries, tileQueries);
    visit(runs, runOffsets[tiles]);
    visit(runOffsets, tiles + 1);
  }
};

struct QueryRanges {
  static constexpr int kRank = 1;
  static constexpr bool kIsGrid = false;
  static constexpr bool kIsDense = false;
  static constexpr bool kHasTokenMasks = false;
  static constexpr bool kHasAddends = false;
  static constexpr bool kMixesHeads = false;

  RangeTables tables;
  Token queries = 0, keys = 0;
  int64_t batch = 0;

  // The box's rows of all tables, and the numbers of its runs; of one query, of its ranges.
  struct Sight {
    Range rows, runs;
  };

  // A box of several queries is of one tile.
  TW_HOST_DEVICE Sight look(int head, const Box<1>& box) const {
    const Range& q = box.axis[0];
    const int64_t table = headClass(head);
    const Token row = Token(table * queries);
    const bool isOne = q.size() == 1;
    const int64_t list =
        isOne ? row + q.begin : table * ceilDiv(queries, tables.tileQueries) + q.begin / tables.tileQueries;
    const int32_t* offsets = (isOne ? tables.offsets : tables.runOffsets) + list;
    return {{row + q.begin, row + q.end}, {offsets[0], offsets[1]}};
  }

  // Runs have their number in at[0].
  TW_HOST_DEVICE int32_t runs(const Sight& s) const { return s.runs.size(); }
  TW_HOST_DEVICE KeyRun run(const Sight& s, int32_t i) const {
    const int32_t number = s.runs.begin + i;
    KeyRun run;
    run.places = intersect(isOfOne(s) ? tables.ranges[number] : tables.runs[number].keys, {0, keys});
    run.at[0] = number;
    return run;
  }

  TW_HOST_DEVICE Cut cut(const Sight& s, const KeyRun& run) const {
    if (!isOfOne(s)) {
      const Range& interior = tables.runs[run.at[0]].interior;
      if (interior.contains(run.places) || isWholeTile(s)) return cutRun(run, run.places, interior);
    }
    // One query, or some of a tile: fewer of its keys, and a larger interior.
    Range some{run.places.end, run.places.begin}, all = run.places;
    for (Token row = s.rows.begin; row < s.rows.end; ++row) {
      const Range own = intersect(seenBy(row, run.places), run.places);
      all = intersect(all, own);
      if (!own.isEmpty()) some = {smaller(some.begin, own.begin), larger(some.end, own.end)};
    }
    return cutRun(run, some, all);
  }

  TW_HOST_DEVICE PatternTraits traits() const {
    PatternTraits traits{"window"};  // whose kernels take both
    traits.headsAlike = tables.headsPerTable;
    if (tables.tileQueries > 0) traits.queryBlock = tables.tileQueries;
    traits.isPlanned = true;
    traits.hasDecodeKernel = true;
    return traits;
  }
  // The head's table.
  TW_HOST_DEVICE int64_t headClass(int head) const {
    return batch * tables.byBatch + head / tables.headsPerTable * tables.byHead;
  }
  // What the last query has; it sees the most where the order is causal.
  TW_HOST_DEVICE Token visitedKeys() const {
    const int64_t row = headClass(0) * queries + queries - 1;
    Token seen = 0;
    for (int32_t i = tables.offsets[row]; i < tables.offsets[row + 1]; ++i) seen += tables.ranges[i].size();
    return seen;
  }

 private:
  static TW_HOST_DEVICE bool isOfOne(const Sight& s) { return s.rows.end - s.rows.begin == 1; }
  TW_HOST_DEVICE bool isWholeTile(const Sight& s) const {
    const Token begin = s.rows.begin % queries, size = s.rows.size();
    return size == tables.tileQueries || (begin % tables.tileQueries == 0 && begin + size == queries);
  }
  // The first range of a row that ends behind the first of these places.
  TW_HOST_DEVICE Range seenBy(Token row, const Range& places) const {
    const int32_t end = tables.offsets[row + 1];
    int32_t low = tables.offsets[row], high = end;
    while (low < high) {
      const int32_t middle = low + (high - low) / 2;
      if (tables.ranges[middle].end <= places.begin) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low < end ? tables.ranges[low] : Range{places.begin, places.begin};
  }
};

}  // namespace tilewise
