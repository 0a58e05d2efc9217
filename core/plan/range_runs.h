// Range runs: the runs of keys that each tile of queries visits, planned from the queries' own ranges. Host only.
// Reader: someone who asks what query_ranges.h is given. A run ends where some query would meet a second range in it,
// or where nobody sees the next key. Time and memory are those of the ranges, sorted; the keys are never walked.
#pragma once

#include <algorithm>
#include <vector>

#include "../op/attention.h"

namespace tilewise {

// One tile: its queries' ranges, swept from the first key to the last.
class RunSweep {
 public:
  void add(int32_t query, const Range& range) { ranges_.push_back({range, query}); }

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
      } else if (lastRun_[size_t(seen.query)] == run_) {
        close(begin, queries, runs);
      }
      join(seen);
    }
    close(end_, queries, runs);
    ranges_.clear();
  }

 private:
  struct Seen {
    Range range;
    int32_t query;
  };

  void join(const Seen& seen) {
    if (open_.empty()) begin_ = seen.range.begin;
    end_ = open_.empty() ? seen.range.end : larger(end_, seen.range.end);
    open_.push_back(seen);
    lastRun_[size_t(seen.query)] = run_;
  }

  // Ends the run at this key. Ranges that reach past it begin the next one.
  void close(Token at, int32_t queries, std::vector<RangeRun>& runs) {
    if (open_.empty()) return;
    RangeRun run{{begin_, smaller(end_, at)}, {0, kMaxTokens}};
    for (const Seen& seen : open_) run.interior = intersect(run.interior, seen.range);
    // A query has one range in a run at most.
    const bool isOfAll = open_.size() == size_t(queries);
    run.interior = isOfAll ? intersect(run.interior, run.keys) : Range{begin_, begin_};
    runs.push_back(run);
    ++run_;
    before_.swap(open_);
    open_.clear();
    for (const Seen& seen : before_) {
      if (seen.range.end > at) join({{at, seen.range.end}, seen.query});
    }
  }

  std::vector<Seen> ranges_;
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
      for (int32_t i = tables.offsets[row + q]; i < tables.offsets[row + q + 1]; ++i) sweep_.add(q, tables.ranges[i]);
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
