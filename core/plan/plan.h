// Plan: the tile counts of a whole problem, and what single boxes of queries see, for pictures.
// Reader: someone who wants to know before running. Host only.
#pragma once

#include <map>

#include "tile_counts.h"
#include "../op/attention.h"

namespace tilewise {

// What tells heads apart: heads of one class see the same keys.
inline int64_t headClass(const StridedShards& pattern, int head) {
  if (pattern.options.isRelative) return 0;
  const StridedShards::Sight sight = pattern.look(head, Box<1>{{{0, 1}}});
  return sight.isDense ? -1 : sight.remote;
}
inline int64_t headClass(const BlockList& pattern, int head) {
  return pattern.batch * pattern.lists.byBatch + head / pattern.lists.headsPerList * pattern.lists.byHead;
}

class Planner {
 public:
  Planner(const AttentionProblem& problem, const TileRule& rule) : problem_(problem) { plan_.rule = rule; }

  Plan run() {
    switch (problem_.pattern) {
      case PatternKind::window: addWindow(); break;
      case PatternKind::neighborhood: addGrid(); break;
      case PatternKind::stridedShards: addSequences([this](const Sequence& s) { return shardsOf(problem_, s); }); break;
      case PatternKind::blocks: addSequences([this](const Sequence& s) { return blockListOf(problem_, s); }); break;
    }
    return plan_;
  }

 private:
  void addGrid() {
    TileCounts all = countAxis(problem_.grid, 0, plan_.rule);
    for (int a = 1; a < problem_.grid.rank; ++a) all = all * countAxis(problem_.grid, a, plan_.rule);
    addForAll(all, problem_.keys);
  }

  void addWindow() {
    if (problem_.sequences == 0) return;
    const Sequence s = problem_.sequence(0);
    const Token queries = s.queries.size(), keys = s.keys.size();
    Counted counted = countTiles(windowOf(problem_.window, queries, keys), 0, queries, keys, plan_.rule);
    addForAll(counted.counts, counted.touched.size());
  }

  // Every head of every batch entry sees the same.
  void addForAll(const TileCounts& counts, int64_t touched) {
    plan_.maps = int64_t(problem_.sequences) * (problem_.outputHeads() / plan_.rule.headsPerTile);
    plan_.keysTouched = int64_t(problem_.sequences) * problem_.kvHeads * touched;
    plan_.sum.add(counts, plan_.maps);
    plan_.worst = counts;
  }

  template <class PatternOf>
  void addSequences(PatternOf&& patternOf) {
    for (int32_t s = 0; s < problem_.sequences; ++s) {
      const Sequence sequence = problem_.sequence(s);
      addSequence(patternOf(sequence), sequence);
    }
  }

  template <class Pattern>
  void addSequence(const Pattern& pattern, const Sequence& s) {
    const int32_t heads = problem_.outputHeads(), perTile = plan_.rule.headsPerTile;
    int32_t kvHead = -1;
    RangeSet touched;
    for (int32_t head = 0; head < heads; head += perTile) {
      const Counted& counted = countsOf(pattern, head, s);
      plan_.sum.add(counted.counts);
      ++plan_.maps;
      plan_.variesByHead |= headClass(pattern, head) != headClass(pattern, 0);
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
  const Counted& countsOf(const Pattern& pattern, int32_t head, const Sequence& s) {
    const auto [at, isNew] = counted_.try_emplace(headClass(pattern, head));
    if (isNew) at->second = countTiles(pattern, head, s.queries.size(), s.keys.size(), plan_.rule);
    return at->second;
  }

  const AttentionProblem& problem_;
  Plan plan_;
  std::map<int64_t, Counted> counted_;  // sequences of a plan have one length, so classes count alike in all of them
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

// What ranges of queries see of a sequence. What a single query sees is exact.
inline std::vector<Seen> seenBy(const AttentionProblem& problem, const std::vector<Viewer>& viewers) {
  std::vector<Seen> seen;
  const Sequence sequence = problem.sequence(0);
  withPattern(problem, sequence, [&](const auto& pattern) {
    for (size_t i = 0; i < viewers.size(); ++i) {
      const auto& [head, queries] = viewers[i];
      std::vector<Stretch> stretches;
      forEachSeen(pattern, head, queries, [&](const Stretch& stretch) {
        const uint8_t* tokens = tokenMask(pattern, stretch.run, queries.begin);
        if (!tokens || queries.size() > 1) return stretches.push_back(stretch);
        const Range& keys = stretch.run.places;
        for (Token key = keys.begin; key < keys.end; ++key) {
          if (tokens[key - keys.begin]) stretches.push_back({stretch.run.within({key, key + 1}), true});
        }
      });
      for (const auto& [keys, interiors] : joined(stretches)) {
        Token at = keys.begin;
        for (const Range& interior : interiors) {
          if (at < interior.begin) seen.push_back({int32_t(i), at, interior.begin, false});
          seen.push_back({int32_t(i), interior.begin, interior.end, true});
          at = interior.end;
        }
        if (at < keys.end) seen.push_back({int32_t(i), at, keys.end, false});
      }
    }
  });
  return seen;
}

// What ranges of places see along one axis of a dilation group.
inline std::vector<Seen> seenAlong(const Grid& grid, int32_t group, int axis, const std::vector<Range>& boxes) {
  std::vector<Seen> seen;
  const Neighborhood<1> alone = alongAxis(grid, group, axis);
  for (size_t i = 0; i < boxes.size(); ++i) {
    forEachSeen(alone, 0, boxes[i], [&](const Stretch& stretch) {
      seen.push_back({int32_t(i), stretch.run.places.begin, stretch.run.places.end, stretch.isInterior});
    });
  }
  return seen;
}

}  // namespace tilewise
