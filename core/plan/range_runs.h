// Range runs: the runs of keys that each tile of queries visits, planned from the queries' own ranges. Host only.
// Reader: someone who asks what query_ranges.h is given. A run ends where some query would meet a second range in it,
// or where nobody sees the next key. Time and memory are those of the ranges, sorted; the keys are never walked.
#pragma once

#include <algorithm>
#include <vector>

#include "../op/attention.h"

namespace tilewise {

// One tile: its queries' ranges, swept from the first key to the last. A range that queries next to each other have in
// common counts once: they differ in few, if any.
class RunSweep {
 public:
  // Adds the ranges of a query, which ascend; queries come one after the other, from 0.
  void add(int32_t query, const Range* ranges, int32_t count) {
    size_t known = 0;
    own_.clear();
    for (int32_t i = 0; i < count; ++i) {
      const Range& range = ranges[i];
      while (known < last_.size() && ranges_[last_[known]].range.begin < range.begin) ++known;
      if (known < last_.size() && isSame(ranges_[last_[known]].range, range)) {
        own_.push_back(last_[known]);
        ranges_[own_.back()].queries.end = query + 1;
      } else {
        own_.push_back(ranges_.size());
        ranges_.push_back({range, {query, query + 1}});
      }
    }
    last_.swap(own_);
  }

  // Appends the runs of the ranges that have been added since it was called last, of queries [0, queries).
  void finish(int32_t queries, std::vector<RangeRun>& runs) {
    const auto isBefore = [](const Seen& a, const Seen& b) { return a.range.begin < b.range.begin; };
    if (!std::is_sorted(ranges_.begin(), ranges_.end(), isBefore)) std::sort(ranges_.begin(), ranges_.end(), isBefore);
    lastRun_.assign(size_t(queries), 0);
    run_ = 1;
    for (const Seen& seen : ranges_) {
      const Token begin = seen.range.begin;
      if (begin > end_) {
        close(end_, queries, runs);
      } else if (areInRun(seen.queries)) {
        close(begin, queries, runs);
      }
      join(seen);
    }
    close(end_, queries, runs);
    ranges_.clear();
    last_.clear();
  }

 private:
  // A range, and the queries that have it.
  struct Seen {
    Range range, queries;
  };

  static bool isSame(const Range& a, const Range& b) { return a.begin == b.begin && a.end == b.end; }

  // Whether any of these has a range in the run.
  bool areInRun(const Range& queries) const {
    for (Token q = queries.begin; q < queries.end; ++q) {
      if (lastRun_[size_t(q)] == run_) return true;
    }
    return false;
  }

  void join(const Seen& seen) {
    if (open_.empty()) begin_ = seen.range.begin;
    end_ = open_.empty() ? seen.range.end : larger(end_, seen.range.end);
    open_.push_back(seen);
    std::fill(lastRun_.begin() + seen.queries.begin, lastRun_.begin() + seen.queries.end, run_);
  }

  // Ends the run at this key. Ranges that reach past it begin the next one.
  void close(Token at, int32_t queries, std::vector<RangeRun>& runs) {
    if (open_.empty()) return;
    RangeRun run{{begin_, smaller(end_, at)}, {0, kMaxTokens}};
    int32_t seeing = 0;  // a query has one range in a run at most
    for (const Seen& seen : open_) {
      run.interior = intersect(run.interior, seen.range);
      seeing += seen.queries.size();
    }
    run.interior = seeing == queries ? intersect(run.interior, run.keys) : Range{begin_, begin_};
    runs.push_back(run);
    ++run_;
    before_.swap(open_);
    open_.clear();
    for (const Seen& seen : before_) {
      if (seen.range.end > at) join({{at, seen.range.end}, seen.queries});
    }
  }

  std::vector<Seen> ranges_;
  std::vector<size_t> last_, own_;  // those of the query that was added last, and of the one that is being added
  std::vector<Seen> open_, before_;  // ranges in the run, and in the one before it
  Token begin_ = 0, end_ = 0;  // of the run, if it has ranges
  std::vector<int32_t> lastRun_;  // per query: the last run in which it has a range
  int32_t run_ = 1;
};

// The runs of a problem's tiles, as its tables point to them.
class RangeRuns {
 public:
  // Plans tiles of so many queries. Nothing happens to problems of other patterns.
  void plan(AttentionProblem& problem, Token tileQueries) {
    RangeTables& tables = problem.ranges;
    if (!tables.offsets || problem.queries == 0) return;
    const int64_t rows = tables.count(problem.sequences, problem.outputHeads()) * problem.queries;
    runs_.clear();
    offsets_.assign(1, 0);
    for (int64_t table = 0; table < rows; table += problem.queries) {
      for (Token first = 0; first < problem.queries; first += tileQueries) {
        add(tables, table + first, smaller(tileQueries, problem.queries - first));
      }
    }
    putInto(tables, tileQueries);
  }
  // Plans one box of queries of one head alone, as if nobody else asked.
  void planBox(AttentionProblem& problem, const Sequence& sequence, int32_t head, const Range& queries) {
    RangeTables& tables = problem.ranges;
    if (!tables.offsets) return;
    const int64_t table = patternOf<QueryRanges>(problem, sequence).headClass(head);
    runs_.clear();
    offsets_.assign(size_t(table) + 1, 0);
    add(tables, table * problem.queries + queries.begin, queries.size());
    putInto(tables, larger<Token>(1, problem.queries));
  }

 private:
  void add(const RangeTables& tables, int64_t row, Token queries) {
    for (Token q = 0; q < queries; ++q) {
      const int32_t* const offsets = tables.offsets + row + q;
      sweep_.add(q, tables.ranges + offsets[0], offsets[1] - offsets[0]);
    }
    sweep_.finish(queries, runs_);
    offsets_.push_back(int32_t(runs_.size()));
  }
  void putInto(RangeTables& tables, Token tileQueries) const {
    tables.tileQueries = tileQueries;
    tables.runOffsets = offsets_.data();
    tables.runs = runs_.data();
  }

  RunSweep sweep_;
  std::vector<int32_t> offsets_;
  std::vector<RangeRun> runs_;
};

}  // namespace tilewise
