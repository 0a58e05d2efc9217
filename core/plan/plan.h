// Plan: the tile counts of a whole problem, and the keys that single boxes of queries see, for pictures.
// Reader: someone who wants to know before running. Host only.
#pragma once

#include <algorithm>
#include <map>

#include "../op/attention.h"
#include "masked_grid.h"
#include "range_runs.h"

namespace tilewise {

struct Plan {
  TileRule rule;
  TileCounts sum;           // over heads and batch entries; keyTiles and most are still those of one query tile
  int64_t maps = 0;         // how many columns of query tiles were added up: one per head, or per headsPerTile
  TileCounts worst;         // of the heads that compute the most pairs
  int32_t worstHead = 0;    // the first of them
  bool variesByHead = false;
  int64_t keysTouched = 0;  // keys that some query reads, counted once per KV head and batch entry
};

class Planner {
 public:
  Planner(const AttentionProblem& problem, const TileRule& rule) : problem_(problem) {
    plan_.rule = rule;
    const bool hasBlocks = rule.rowsPerBlock > 0;
    runs_.plan(problem_, hasBlocks ? Token(rule.rowsPerBlock / rule.headsPerTile) : rule.queries[0]);
  }

  Plan run() {
    const PatternTraits traits = traitsOf(problem_);
    if (!traits.isGrid && problem_.sequences == 0) return plan_;
    const HiddenKeys hidden = hiddenOf(problem_.sequence(0));
    withPattern(problem_, problem_.sequence(0), [&](const auto& pattern) {
      using Pattern = std::decay_t<decltype(pattern)>;
      if constexpr (Pattern::kIsGrid) {
        if (!hidden.areAny()) return addGrid();
      } else if (traits.headsAlike == 0 && areSequencesAlike(hidden) && !hidden.variesByHead()) {
        return addAlike(pattern, hidden);
      }
      for (int32_t s = 0; s < problem_.sequences; ++s) addSequence<Pattern>(s);
      // Dense attention has the keys behind a length, too.
      if (!Pattern::kIsGrid) plan_.sum.keyTiles = ceilDiv(problem_.keys, plan_.rule.keys[0]);
    });
    return plan_;
  }

 private:
  void addGrid() { addForAll(countAxes(problem_.grid, plan_.rule), problem_.keys); }

  HiddenKeys hiddenOf(const Sequence& s) const { return {problem_, s, plan_.rule}; }

  // Whether batch entries are of one length, and hide the same keys.
  bool areSequencesAlike(const HiddenKeys& hidden) const {
    return !problem_.keyLengths && !problem_.keyStarts && !hidden.variesByBatch();
  }

  template <class Pattern>
  void addAlike(const Pattern& pattern, const HiddenKeys& hidden) {
    const Sequence s = problem_.sequence(0);
    Counted counted = countTiles(pattern, hidden, 0, s, plan_.rule);
    addForAll(counted.counts, counted.touched.size());
  }

  // Every head of every batch entry sees the same.
  void addForAll(const TileCounts& counts, int64_t touched) {
    plan_.maps = int64_t(problem_.sequences) * (problem_.outputHeads() / plan_.rule.headsPerTile);
    plan_.keysTouched = int64_t(problem_.sequences) * problem_.kvHeads * touched;
    plan_.sum.add(counts, plan_.maps);
    plan_.worst = counts;
  }

  template <class Pattern>
  void addSequence(int32_t index) {
    const Sequence s = problem_.sequence(index);
    const Pattern pattern = patternOf<Pattern>(problem_, s);
    const HiddenKeys hidden = hiddenOf(s);
    if (!areSequencesAlike(hidden)) counted_.clear();
    const int32_t heads = problem_.outputHeads(), perTile = plan_.rule.headsPerTile;
    int32_t kvHead = -1;
    RangeSet touched;
    for (int32_t head = 0; head < heads; head += perTile) {
      const Counted& counted = countsOf(pattern, hidden, head, s);
      plan_.sum.add(counted.counts);
      ++plan_.maps;
      for (int32_t h = head; h < head + perTile; ++h)
        plan_.variesByHead |= pattern.headClass(h) != pattern.headClass(0) || hidden.variesByHead();
      if (counted.counts.computed > plan_.worst.computed) {
        plan_.worst = counted.counts;
        plan_.worstHead = head;
      }
      if (problem_.kvHeadOf(head) != kvHead) {
        plan_.keysTouched += touched.size();
        touched = RangeSet();
        kvHead = problem_.kvHeadOf(head);
      }
      touched.add(counted.touched);
    }
    plan_.keysTouched += touched.size();
  }

  template <class Pattern>
  const Counted& countsOf(const Pattern& pattern, const HiddenKeys& hidden, int32_t head, const Sequence& s) {
    const bool isOwn = hidden.variesByHead() || !pattern.traits().areAlike(plan_.rule.headsPerTile);
    const auto [at, isNew] = counted_.try_emplace({pattern.headClass(head), isOwn ? head : 0});
    if (!isNew) return at->second;
    if constexpr (Pattern::kIsGrid) {
      at->second = countMaskedGrid<Pattern::kRank>(problem_.grid, hidden, head, plan_.rule);
    } else {
      at->second = countTiles(pattern, hidden, head, s, plan_.rule);
    }
    return at->second;
  }

  AttentionProblem problem_;
  RangeRuns runs_;
  Plan plan_;
  std::map<std::pair<int64_t, int32_t>, Counted> counted_;  // by class, and by head where masks differ
};

inline Plan explain(const AttentionProblem& problem, const TileRule& rule) { return Planner(problem, rule).run(); }

// A run as plain numbers: which of the viewers (or boxes of a grid) sees keys [begin, end), and whether every query of
// the box does.
struct Seen {
  int32_t box;
  Token begin, end;
  bool isInterior;
};

// Queries of one head that are asked together.
struct Viewer {
  int32_t head;
  Range queries;
};

// Calls visit(Stretch) for what one viewer sees, less what is hidden from all its queries.
template <class Pattern, class Visit>
void forEachLeft(const Pattern& pattern, const HiddenKeys& hidden, const Viewer& viewer, Visit&& visit) {
  const auto& [head, queries] = viewer;
  const TileRows rows{head, queries.begin, queries.end, 1};
  forEachSeen(pattern, {head, head + 1}, queries,
              [&](const Stretch& stretch) { hidden.forEachLeft(rows, stretch, visit); });
}

// Adds the keys that one viewer sees. A single query's are exact: its token masks are read, too. `stretches` is
// scratch.
template <class Pattern>
void addSeen(const Pattern& pattern, const HiddenKeys& hidden, int32_t box, const Viewer& viewer,
             std::vector<Stretch>& stretches, std::vector<Seen>& seen) {
  const Range& queries = viewer.queries;
  stretches.clear();
  forEachLeft(pattern, hidden, viewer, [&](const Stretch& stretch) {
    const uint8_t* tokens = tokenMask(pattern, stretch.run, queries.begin);
    if (!tokens || queries.size() > 1) return stretches.push_back(stretch);
    const Range& keys = stretch.run.places;
    for (Token key = keys.begin; key < keys.end; ++key) {
      if (tokens[key - keys.begin]) stretches.push_back({stretch.run.within({key, key + 1}), true});
    }
  });
  forEachJoined(stretches, [&](const SeenKeys& joined) {
    Token at = joined.keys.begin;
    for (const Range& interior : joined.interior) {
      if (at < interior.begin) seen.push_back({box, at, interior.begin, false});
      seen.push_back({box, interior.begin, interior.end, true});
      at = interior.end;
    }
    if (at < joined.keys.end) seen.push_back({box, at, joined.keys.end, false});
  });
}

// Adds the tiles of keys that one viewer visits, as a query tile. `stretches` is scratch.
template <class Pattern>
void addVisited(const Pattern& pattern, const HiddenKeys& hidden, int32_t box, const Viewer& viewer, KeyTiles tiles,
                std::vector<Stretch>& stretches, std::vector<Seen>& visited) {
  stretches.clear();
  forEachLeft(pattern, hidden, viewer, [&](const Stretch& stretch) { stretches.push_back(stretch); });
  forEachJoined(stretches, [&](const SeenKeys& seen) {
    const Token origin = tiles.origin(seen);
    std::vector<Range> interior;
    const Range taken = tiles.take(seen, [&](const Range& whole) { interior.push_back(whole); });
    for (Token tile = taken.begin; tile < taken.end; ++tile) {
      const auto holds = [&](const Range& whole) { return whole.contains({tile, tile + 1}); };
      const bool isInterior = std::any_of(interior.begin(), interior.end(), holds);
      visited.push_back({box, tiles.keysUpTo(origin, tile), tiles.keysUpTo(origin, tile + 1), isInterior});
    }
  });
}

// What ranges of queries see of the first sequence; with a rule the tiles that they visit. Grids are asked axis by axis
// instead.
inline std::vector<Seen> seenBy(const AttentionProblem& problem, const std::vector<Viewer>& viewers,
                                const TileRule* rule) {
  std::vector<Seen> seen;
  std::vector<Stretch> stretches;
  const Sequence sequence = problem.sequence(0);
  TileRule keyByKey;
  keyByKey.maskKeys = 1;
  const HiddenKeys hidden(problem, sequence, rule ? *rule : keyByKey);
  AttentionProblem planned = problem;
  RangeRuns runs;
  for (size_t i = 0; i < viewers.size(); ++i) {
    runs.planBox(planned, sequence, viewers[i].head, viewers[i].queries);
    withPattern(planned, sequence, [&](const auto& pattern) {
      if constexpr (!std::decay_t<decltype(pattern)>::kIsGrid) {
        if (rule) {
          const KeyTiles tiles(sequence.keys.size(), rule->keys[0], *rule);
          addVisited(pattern, hidden, int32_t(i), viewers[i], tiles, stretches, seen);
        } else {
          addSeen(pattern, hidden, int32_t(i), viewers[i], stretches, seen);
        }
      }
    });
  }
  return seen;
}

// What ranges of places see along one axis of a dilation group; with a rule the tiles that they visit.
inline std::vector<Seen> seenAlong(const Grid& grid, int32_t group, int axis, const std::vector<Range>& boxes,
                                   const TileRule* rule) {
  std::vector<Seen> seen;
  std::vector<Stretch> stretches;
  const Neighborhood<1> alone = alongAxis(grid, group, axis);
  for (size_t i = 0; i < boxes.size(); ++i) {
    if (rule) {
      const KeyTiles tiles(alone.axis[0].length, rule->keys[axis], *rule);
      addVisited(alone, HiddenKeys(), int32_t(i), {0, boxes[i]}, tiles, stretches, seen);
      continue;
    }
    forEachSeen(alone, {0, 1}, boxes[i], [&](const Stretch& stretch) {
      seen.push_back({int32_t(i), stretch.run.places.begin, stretch.run.places.end, stretch.isInterior});
    });
  }
  return seen;
}

}  // namespace tilewise
