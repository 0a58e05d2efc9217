// Selection on every instruction set against the rule of core/op/selection.h written down plainly, on integers, so that
// scores are exact and ties happen. Reader: someone who changes the search; the TypeScript suite has the goldens.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../../../cpu/backend.h"
#include "../../../cpu/operations.h"
#include "../../../cpu/runtime/dispatch.h"
#include "../../../cpu/selection/selecting.h"
#include "../check.h"
#include "../pick.h"

using namespace tilewise;

namespace {

struct Case {
  SelectionProblem problem;
  std::vector<float> query, key;
  std::vector<uint16_t> halfQuery, halfKey;
  std::vector<std::vector<int32_t>> starts, counts;
  std::string name;
};

double score(const Case& c, int32_t b, int32_t head, const Range& queries, Token stride, Token token) {
  const SelectionProblem& p = c.problem;
  double best = -INFINITY;
  for (Token first = queries.begin; first < queries.end; first += stride) {
    const Token row = std::min(first + stride, queries.end) - 1;
    double sum = 0;
    for (int32_t d = 0; d < p.headDim; ++d) {
      sum += double(c.query[size_t(p.query.offset(b, row, p.queryHeadOf(head)) + d * p.query.dim)]) *
             c.key[size_t(p.key.offset(b, token, p.kvHeadOf(head)) + d * p.key.dim)];
    }
    best = std::max(best, sum);
  }
  return best;
}

double descend(const Case& c, int32_t b, int32_t head, const Range& queries, Token stride, Token low, Token high) {
  if (high - low == 1) return score(c, b, head, queries, stride, low);
  double best = -INFINITY;
  while (high - low > 1) {
    const Token middle = (low + high) / 2;
    const double left = score(c, b, head, queries, stride, (low + middle) / 2);
    const double right = score(c, b, head, queries, stride, (middle + high) / 2);
    best = std::max({best, left, right});
    (right > left ? low : high) = middle;
  }
  return best;
}

// The entries of one list, given those of the stage before.
std::vector<Token> expected(const Case& c, int32_t s, int32_t b, int32_t list, Token block,
                            const std::vector<Token>& parents) {
  const SelectionProblem& p = c.problem;
  const SelectionStage& stage = p.stage[s];
  const Range queries = p.queriesOf(s, block), keys = p.candidates(b, queries);
  std::vector<Token> chunks;
  if (s == 0) {
    for (Token l = keys.begin; l < keys.end; l += stage.chunk) chunks.push_back(l);
  } else {
    for (const Token parent : parents) {
      for (Token l = parent; l < std::min(parent + p.stage[s - 1].chunk, keys.end); l += stage.chunk)
        chunks.push_back(l);
    }
  }
  std::vector<std::pair<double, Token>> scored;
  for (const Token l : chunks) {
    double best = -INFINITY;
    for (int32_t h = list * p.headsPerList; h < (list + 1) * p.headsPerList; ++h) {
      best = std::max(best, descend(c, b, h, queries, stage.strideQueries, l, std::min(l + stage.chunk, keys.end)));
    }
    scored.emplace_back(-best, l);
  }
  std::sort(scored.begin(), scored.end());
  if (scored.size() > size_t(stage.keep)) scored.resize(size_t(stage.keep));
  std::vector<Token> kept;
  for (const auto& [_, l] : scored) kept.push_back(l);
  std::sort(kept.begin(), kept.end());
  return kept;
}

std::vector<Token> listOf(const Case& c, int32_t s, int64_t list) {
  const int32_t* starts = c.starts[size_t(s)].data() + list * c.problem.stage[s].keep;
  return {starts, starts + c.counts[size_t(s)][size_t(list)]};
}

void checkLists(const Case& c, const std::string& set) {
  const SelectionProblem& p = c.problem;
  for (int32_t s = 0; s < p.stages; ++s) {
    for (int32_t b = 0; b < p.batch; ++b) {
      for (int32_t list = 0; list < p.lists(); ++list) {
        for (Token block = 0; block < p.blocks(s); ++block) {
          const Token before = s == 0 ? 0 : block * p.stage[s].blockQueries / p.stage[s - 1].blockQueries;
          const auto parents = s == 0 ? std::vector<Token>{} : listOf(c, s - 1, p.listAt(s - 1, b, list, before));
          const bool isEqual = listOf(c, s, p.listAt(s, b, list, block)) == expected(c, s, b, list, block, parents);
          CHECK(isEqual, "%s: %s: stage %d, batch %d, list %d, block %d", set.c_str(), c.name.c_str(), s, b, list,
                block);
        }
      }
    }
  }
}

void make(Case& c, uint32_t seed) {
  Pick pick(seed);
  SelectionProblem& p = c.problem;
  const int32_t dims[] = {1, 7, 16, 40, 64}, blocks[] = {1, 4, 16, 32}, chunks[] = {1, 6, 16, 64};
  p.batch = 1 + pick(2);
  p.kvHeads = 1 + pick(2);
  p.queryHeads = p.kvHeads * (1 + pick(3));
  p.queries = 1 + pick(90);
  p.keys = p.queries + pick(500);
  p.headDim = dims[pick(5)];
  p.sink = pick(20);
  const int32_t scope = pick(3);
  p.headsPerList = scope == 0 ? 1 : scope == 1 ? p.queryHeads / p.kvHeads : p.queryHeads;
  p.stages = 1 + pick(2);
  Token queries = blocks[pick(4)], chunk = chunks[pick(4)];
  p.window = queries + pick(60);
  c.starts.resize(size_t(p.stages));
  c.counts.resize(size_t(p.stages));
  for (int32_t s = 0; s < p.stages; ++s) {
    SelectionStage& stage = p.stage[s];
    stage.blockQueries = queries;
    stage.strideQueries = 1 + pick(4);
    stage.chunk = chunk;
    stage.keep = 1 + pick(12);
    const int64_t lists = int64_t(p.batch) * p.lists() * p.blocks(s);
    c.starts[size_t(s)].assign(size_t(lists * stage.keep), -1);
    c.counts[size_t(s)].assign(size_t(lists), -1);
    stage.starts = c.starts[size_t(s)].data();
    stage.counts = c.counts[size_t(s)].data();
    if (queries % 2 == 0 && pick(2)) queries /= 2;
    if (chunk % 2 == 0) chunk /= 2;
  }
  // Dims side by side or tokens apart: rows that are read in place, and rows that are not.
  const bool isTurned = pick(3) == 0;
  const auto lay = [&](Operand& o, int64_t tokens, int64_t heads) {
    const int64_t dim = p.headDim;
    o = isTurned ? Operand{nullptr, tokens * heads * dim, 1, tokens * dim, tokens}
                 : Operand{nullptr, tokens * heads * dim, heads * dim, dim, 1};
    return size_t(p.batch * tokens * heads * dim);
  };
  c.query.resize(lay(p.query, p.queries, p.queryHeads));
  c.key.resize(lay(p.key, p.keys, p.kvHeads));
  for (float& x : c.query) x = float(pick(9) - 4);
  for (float& x : c.key) x = float(pick(9) - 4);
  p.query.data = c.query.data();
  p.key.data = c.key.data();
  p.dtype = p.keyType = DType(pick(3));
  if (p.dtype != DType::float32) {
    const auto half = [&](float x) { return p.dtype == DType::float16 ? toFloat16(x) : toBfloat16(x); };
    for (const float x : c.query) c.halfQuery.push_back(half(x));
    for (const float x : c.key) c.halfKey.push_back(half(x));
    p.query.data = c.halfQuery.data();
    p.key.data = c.halfKey.data();
  }
  c.name = "seed " + std::to_string(seed);
}

// The same lists come of a stage's items in any order, one at a time, and each is written once.
void checkOrders(Case& c, const std::string& set) {
  cpu::Worker worker;
  for (int32_t s = 0; s < c.problem.stages; ++s) {
    std::vector<int32_t>& counts = c.counts[size_t(s)];
    std::fill(c.starts[size_t(s)].begin(), c.starts[size_t(s)].end(), -1);
    std::fill(counts.begin(), counts.end(), -1);
    std::vector<int32_t> kept = counts;
    const auto job = cpu::jobOf(c.problem, s, cpu::activeKernels(), 64);
    for (int64_t item = job->items; item-- > 0;) {
      job->work(item, worker);
      for (size_t list = 0; list < counts.size(); ++list) {
        if (counts[list] < 0) continue;
        CHECK(kept[list] < 0, "%s: %s: stage %d writes list %d again", set.c_str(), c.name.c_str(), s, int(list));
        kept[list] = counts[list];
        counts[list] = -1;
      }
    }
    counts = kept;
  }
  checkLists(c, set);
}

// Of equal scores the lower entries are kept, and 0 and -0 are equal.
void checkTies() {
  const std::vector<std::vector<float>> lists = {
      {-0.0f, 0.0f, -0.0f, 0.0f}, {0.0f, -0.0f, 0.0f, -0.0f}, {-1, -0.0f, 0.0f, 0.0f, -1},
      {1, -0.0f, 0.0f, 1},        {-INFINITY, -0.0f, 0.0f},   {2, 2, 2, 2},
      {-2, -2, -1, -2},
  };
  for (const std::vector<float>& scores : lists) {
    for (size_t most = 0; most <= scores.size(); ++most) {
      std::vector<int64_t> expected(scores.size()), kept;
      for (size_t i = 0; i < scores.size(); ++i) expected[i] = int64_t(i);
      std::stable_sort(expected.begin(), expected.end(),
                       [&](int64_t a, int64_t b) { return scores[size_t(a)] > scores[size_t(b)]; });
      expected.resize(most);
      std::sort(expected.begin(), expected.end());
      std::vector<uint64_t> order(scores.size());
      cpu::forEachBest(scores.data(), int64_t(scores.size()), int64_t(most), order.data(),
                       [&](int64_t i) { kept.push_back(i); });
      CHECK(kept == expected, "the best %zu of %g, %g, ...", most, scores[0], scores[1]);
    }
  }
}

// A later stage reads lists that may hold anything: chunks that overlap, fall, or are no candidates. Those that come
// out ascend, and none is behind the candidates.
void checkForeignLists() {
  struct Foreign {
    std::vector<int32_t> starts;
    int32_t count;
    std::vector<Token> expected;
  };
  const Foreign foreigns[] = {
      {{20, 36, 52}, 3, {20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64}},
      {{20, 24, 40}, 3, {20, 24, 28, 32, 40, 44, 48, 52}},
      {{20, 21, 22}, 3, {20, 24, 28, 32}},
      {{20, 20, 36}, 3, {20, 24, 28, 32, 36, 40, 44, 48}},
      {{40, 20, 60}, 3, {40, 44, 48, 52, 60, 64, 68, 72}},
      {{-5, 3, 90}, 3, {90, 94, 98}},
      {{96, 100, 400}, 3, {96}},
      {{20, 36, 52}, 1000, {20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64}},
      {{20, 36, 52}, -7, {}},
      {{kNoEntry, kNoEntry, kNoEntry}, 3, {}},
  };
  for (const Foreign& foreign : foreigns) {
    SelectionProblem p;
    std::vector<int32_t> starts = foreign.starts, counts{foreign.count}, kept(12, -1), keptCount{-1};
    std::vector<float> rows(120, 1.0f);
    p.batch = p.queryHeads = p.kvHeads = p.queries = p.headDim = 1;
    p.keys = 120;
    p.sink = 4;
    p.window = 20;  // candidates are the keys from 4 on and before 100
    p.stages = 2;
    p.firstStage = 1;
    p.stage[0].chunk = 16;
    p.stage[0].keep = 3;
    p.stage[1].chunk = 4;
    p.stage[1].keep = 12;
    p.stage[0].starts = starts.data();
    p.stage[0].counts = counts.data();
    p.stage[1].starts = kept.data();
    p.stage[1].counts = keptCount.data();
    p.query = {rows.data(), 1, 1, 1, 1};
    p.key = {rows.data(), 120, 1, 1, 1};
    cpu::backend().run(p, CancelFlag{false});
    kept.resize(size_t(std::max(0, keptCount[0])));
    CHECK(kept == foreign.expected, "lists of %d, %d, %d: %d entries", foreign.starts[0], foreign.starts[1],
          foreign.starts[2], keptCount[0]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 100;
  const CancelFlag cancel{false};
  for (int seed = 0; seed < rounds; ++seed) {
    Case c;
    make(c, uint32_t(seed));
    for (const std::string& set : cpu::backend().instructionSets()) {
      cpu::backend().setInstructionSet(set);
      cpu::backend().run(c.problem, cancel);
      checkLists(c, set);
      checkOrders(c, set);
    }
  }
  checkTies();
  checkForeignLists();
  return finish("selection");
}
