// The runs of ranges against their definition, key by key: what queries of a tile see is in its runs and nothing else
// is, a query sees one range of each, and cuts are what the queries of a box see. Usage: range_checks [rounds] [first
// seed]. Reader: someone who changed query_ranges.h or range_runs.h.
#include "../../../core/plan/range_runs.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "../../../core/pattern/slice_ranges.h"
#include "../check.h"

using namespace tilewise;

namespace {

constexpr Token kKeys = 60;

struct Table {
  AttentionProblem problem;
  std::vector<int32_t> offsets{0};
  std::vector<Range> ranges;

  bool sees(int64_t row, Token key) const {
    for (int32_t i = offsets[size_t(row)]; i < offsets[size_t(row) + 1]; ++i)
      if (ranges[size_t(i)].contains(key)) return true;
    return false;
  }
};

// Queries that see the same as the one before, nearly the same, or anything.
std::unique_ptr<Table> draw(std::mt19937& random) {
  const auto pick = [&](int n) { return int(random() % uint32_t(n)); };
  auto made = std::make_unique<Table>();
  AttentionProblem& p = made->problem;
  p.pattern = PatternKind::ranges;
  p.batch = p.sequences = 1 + pick(2);
  p.queryHeads = p.kvHeads = 1 + pick(3);
  p.queries = 1 + pick(40);
  p.keys = kKeys;
  p.ranges.byHead = pick(2);
  p.ranges.headsPerTable = p.ranges.byHead ? 1 : p.queryHeads;
  p.ranges.byBatch = pick(2) ? (p.ranges.byHead ? p.queryHeads : 1) : 0;
  const int most = pick(5), change = pick(4);
  const int64_t rows = p.ranges.count(p.batch, p.queryHeads) * p.queries;
  std::vector<Range> own;
  for (int64_t row = 0; row < rows; ++row) {
    if (row == 0 || pick(8) < change) {
      own.clear();
      for (Token at = pick(20); int(own.size()) < most && at < kKeys; at = own.back().end + 1 + pick(9))
        own.push_back({at, smaller<Token>(kKeys, at + 1 + pick(25))});
    } else if (!own.empty() && change == 3) {
      own.back().end = own.back().begin + 1 + pick(kKeys - own.back().begin);
    }
    made->ranges.insert(made->ranges.end(), own.begin(), own.end());
    made->offsets.push_back(int32_t(made->ranges.size()));
  }
  p.ranges.offsets = made->offsets.data();
  p.ranges.ranges = made->ranges.data();
  return made;
}

// A box of queries, some of a tile whose runs are planned.
void checkBox(const Table& t, const QueryRanges& pattern, int head, const Range& queries, const std::string& name) {
  const int64_t first = pattern.headClass(head) * t.problem.queries;
  const QueryRanges::Sight sight = pattern.look(head, Box<1>{{queries}});
  Token end = -1;
  std::vector<int> covered(kKeys);
  for (int32_t i = 0; i < pattern.runs(sight); ++i) {
    const KeyRun run = pattern.run(sight, i);
    CHECK(!run.places.isEmpty() && run.places.begin >= end, "%s: run %d is empty or out of order", name.c_str(),
          int(i));
    end = run.places.end;
    const Cut cut = pattern.cut(sight, run);
    Range some{kMaxTokens, 0}, all = run.places;
    for (Token q = queries.begin; q < queries.end; ++q) {
      const Range own = pattern.cut(pattern.look(head, Box<1>{{{q, q + 1}}}), run).keys;
      for (Token key = run.places.begin; key < run.places.end; ++key) {
        const bool isSeen = t.sees(first + q, key);
        CHECK(own.contains(key) == isSeen, "%s: query %d, key %d", name.c_str(), int(q), int(key));
        if (isSeen) some = {smaller(some.begin, key), larger(some.end, key + 1)};
      }
      all = intersect(all, own);
    }
    for (Token key = run.places.begin; key < run.places.end; ++key) {
      const bool isInside = some.contains(key);
      CHECK(cut.keys.contains(key) || !isInside, "%s: key %d is cut off", name.c_str(), int(key));
      CHECK(queries.size() == pattern.tables.tileQueries || !cut.keys.contains(key) || isInside, "%s: key %d is not",
            name.c_str(), int(key));
      CHECK(cut.interior.contains(key) == all.contains(key), "%s: interior, key %d", name.c_str(), int(key));
      covered[size_t(key)] = 1;
    }
  }
  for (Token q = queries.begin; q < queries.end; ++q)
    for (Token key = 0; key < kKeys; ++key)
      CHECK(covered[size_t(key)] || !t.sees(first + q, key), "%s: key %d is in no run", name.c_str(), int(key));
}

// No key of a tile's runs is seen by none of its queries.
void checkTile(const Table& t, const QueryRanges& pattern, int head, const Range& queries, const std::string& name) {
  const QueryRanges::Sight sight = pattern.look(head, Box<1>{{queries}});
  for (int32_t i = 0; i < pattern.runs(sight); ++i) {
    const KeyRun run = pattern.run(sight, i);
    for (Token key = run.places.begin; key < run.places.end; ++key) {
      bool isSeen = false;
      for (Token q = queries.begin; q < queries.end; ++q)
        isSeen |= t.sees(pattern.headClass(head) * t.problem.queries + q, key);
      CHECK(isSeen, "%s: nobody sees key %d", name.c_str(), int(key));
    }
  }
}

void check(int seed) {
  std::mt19937 random{uint32_t(seed)};
  const auto made = draw(random);
  AttentionProblem& p = made->problem;
  RangeRuns runs;
  for (const Token tile : {1, 7, 16, 64}) {
    runs.plan(p, tile);
    for (int32_t s = 0; s < p.sequences; ++s) {
      const QueryRanges pattern = patternOf<QueryRanges>(p, p.sequence(s));
      for (int head = 0; head < p.queryHeads; ++head) {
        for (Token begin = 0; begin < p.queries; begin += tile) {
          const Range whole{begin, smaller<Token>(begin + tile, p.queries)};
          const std::string name = "seed " + std::to_string(seed) + " tile of " + std::to_string(tile) + " at " +
                                   std::to_string(begin) + " head " + std::to_string(head);
          checkTile(*made, pattern, head, whole, name);
          checkBox(*made, pattern, head, whole, name);
          const Token from = whole.begin + Token(random() % uint32_t(whole.size()));
          checkBox(*made, pattern, head, {from, from + 1 + Token(random() % uint32_t(whole.end - from))},
                   name + " part");
        }
      }
    }
  }
}

// Slices against their definition: in a table with room a row for each query, in one without an exception.
void checkSlices(int seed) {
  std::mt19937 random{uint32_t(seed)};
  const auto pick = [&](int n) { return Token(random() % uint32_t(n)); };
  const Token queries = 1 + pick(30);
  // Of cells side by side, so that none overlap.
  std::vector<AttentionSlice> slices;
  for (Token row = pick(5); row < queries; row += 1 + pick(9)) {
    const Range rows{row, smaller<Token>(queries, row + 1 + pick(9))};
    for (Token key = pick(9); key < kKeys; key += 1 + pick(9)) {
      const Range keys{key, smaller<Token>(kKeys, key + 1 + pick(9))};
      slices.push_back({rows, keys, pick(2) == 1, pick(2) == 1});
      key = keys.end - 1 + pick(2);
    }
    row = rows.end - 1;
  }
  std::shuffle(slices.begin(), slices.end(), random);
  RangeTable table;
  const std::string name = "slices of seed " + std::to_string(seed);
  // Behind the rows of another list.
  table.add({3, 9});
  table.endRow();
  CHECK(!addSlices(slices, queries, table).isAny, "%s overlap", name.c_str());
  CHECK(table.offsets.size() == size_t(queries) + 2, "%s", name.c_str());
  for (Token query = 0; query < queries; ++query) {
    for (Token key = 0; key < kKeys; ++key) {
      bool isSeen = false, isListed = false;
      for (const AttentionSlice& s : slices) {
        const Token i = query - s.queries.begin, j = key - s.keys.begin;
        isSeen = isSeen || (s.queries.contains(query) && s.keys.contains(key) && (!s.isInverse || j >= i) &&
                            (!s.isCausal || j <= i + s.keys.size() - s.queries.size()));
      }
      for (int32_t i = table.offsets[size_t(query) + 1]; i < table.offsets[size_t(query) + 2]; ++i)
        isListed = isListed || table.ranges[size_t(i)].contains(key);
      CHECK(isSeen == isListed, "%s query %d key %d", name.c_str(), query, key);
    }
  }
  if (table.ranges.size() < 2) return;
  RangeTable small;
  small.most = table.ranges.size() - 2;
  bool isRefused = false;
  try {
    addSlices(slices, queries, small);
  } catch (const TooManyRanges&) {
    isRefused = true;
  }
  CHECK(isRefused, "%s fit into a table that is too small", name.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200, first = argc > 2 ? std::atoi(argv[2]) : 0;
  for (int seed = first; seed < first + rounds; ++seed) check(seed), checkSlices(seed);
  return finish("ranges");
}
