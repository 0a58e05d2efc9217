// The `tree` method of selection as work items, a block of queries each: every halving needs the best of all ranges, so
// a block is not cut further. Reader: see core/op/selection.h for the rule.
#include "selecting.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

class TreeJob {
 public:
  TreeJob(const SelectionProblem& problem, const Kernels& kernels)
      : problem_(problem), kernels_(kernels), stage_(problem_.stage[0]) {}

  int64_t items() const { return int64_t(problem_.batch) * problem_.lists() * problem_.blocks(0); }

  void work(int64_t item, Worker& worker) const {
    const SelectionProblem& p = problem_;
    Tree t;
    t = layOut(worker.floats(layOut(nullptr).floats));
    const Token block = Token(item % p.blocks(0));
    const int32_t list = int32_t(item / p.blocks(0) % p.lists());
    t.batch = int32_t(item / p.blocks(0) / p.lists());
    t.firstHead = list * p.headsPerList;
    const Range queries = p.queriesOf(0, block);
    t.keys = p.candidates(t.batch, queries);
    t.rowCount = sampledRows(queries, stage_.strideQueries);
    const int64_t blocks = ceilDiv(t.keys.size(), stage_.chunk), keep = stage_.keep;
    int64_t count = smaller(blocks, keep);
    if (blocks > keep) {
      for (int32_t h = 0; h < p.headsPerList; ++h) {
        kernels_.layOutRows(rowsOf(p, t.batch, t.firstHead + h, queries, stage_.strideQueries),
                            t.rows + h * t.rowFloats);
      }
      for (int64_t j = 0; j < keep; ++j) t.groups[j] = {Token(j * blocks / keep), Token((j + 1) * blocks / keep)};
      while (halve(t)) {
        score(t);
        int64_t n = 0;
        forEachBest(t.scores, t.halves, keep, t.order, [&](int64_t i) { t.groups[n++] = t.children[i]; });
      }
    } else {
      for (int64_t j = 0; j < count; ++j) t.groups[j] = {Token(j), Token(j + 1)};
    }
    for (int64_t j = 0; j < count; ++j) t.scores[j] = 0;
    writeList(p, 0, p.listAt(0, t.batch, list, block), t.scores, count, t.order,
              [&](int64_t j) { return Token(p.sink + int64_t(t.groups[j].begin) * stage_.chunk); });
  }

 private:
  struct Tree {
    int32_t batch, firstHead;
    Range keys;
    int rowCount;
    Range *groups, *children;  // ranges of blocks: [keep], [2 * keep]
    int64_t halves;
    float* scores;  // of the children
    uint64_t* order;
    Token* tokens;
    float *tokenScores, *staging;
    float* rows;  // [heads of a list][rowFloats]
    int64_t rowFloats;
    int64_t floats;
  };

  Tree layOut(float* base) const {
    const SelectionProblem& p = problem_;
    Tree t;
    Carver carver(base);
    carver.take(t.groups, stage_.keep);
    carver.take(t.children, 2 * int64_t(stage_.keep));
    carver.take(t.scores, 2 * int64_t(stage_.keep));
    carver.take(t.order, 2 * int64_t(stage_.keep));
    carver.take(t.tokens, kTreeTokens);
    carver.take(t.tokenScores, kTreeTokens);
    carver.take(t.staging, kernels_.keyFloats(p.headDim));
    const int rows = sampledRows({0, smaller(p.queries, stage_.blockQueries)}, stage_.strideQueries);
    t.rowFloats = (kernels_.sampledFloats(p.headDim, rows) + 15) & ~15;
    carver.take(t.rows, p.headsPerList * t.rowFloats);
    t.floats = carver.floats();
    return t;
  }

  // The halves of all ranges, in order; false when no range can be halved.
  bool halve(Tree& t) const {
    t.halves = 0;
    bool isDone = true;
    for (int64_t j = 0; j < stage_.keep; ++j) {
      const Range group = t.groups[j];
      const Token middle = group.begin + group.size() / 2;
      isDone &= group.size() == 1;
      if (group.size() > 1) t.children[t.halves++] = {group.begin, middle};
      t.children[t.halves++] = {group.size() > 1 ? middle : group.begin, group.end};
    }
    return !isDone;
  }

  // A range's score: the best of the sampled keys of the block in its middle.
  void score(Tree& t) const {
    for (int64_t i = 0; i < t.halves; ++i) t.scores[i] = -INFINITY;
    for (int32_t h = 0; h < problem_.headsPerList; ++h) {
      KeyList keys = keysOf(problem_, t.batch, t.firstHead + h);
      keys.tokens = t.tokens;
      int64_t from = 0;  // the range that the first token belongs to, and which of its tokens that is
      Token fromSample = 0;
      const auto flush = [&] {
        if (keys.count > 0) kernels_.scoreKeys(keys, t.rows + h * t.rowFloats, t.rowCount, t.staging, t.tokenScores);
        for (int i = 0; i < keys.count; ++i) {
          t.scores[from] = larger(t.scores[from], t.tokenScores[i]);
          if (++fromSample < samplesOf(t, from)) continue;
          ++from;
          fromSample = 0;
        }
        keys.count = 0;
      };
      for (int64_t i = 0; i < t.halves; ++i) {
        const Range tokens = tokensOf(t, i);
        for (Token g = 0; g < samplesOf(t, i); ++g) {
          t.tokens[keys.count++] = sampled(tokens, problem_.strideKeys, g);
          if (keys.count == kTreeTokens) flush();
        }
      }
      flush();
    }
  }

  Range tokensOf(const Tree& t, int64_t child) const {
    const Range& range = t.children[child];
    const int64_t first = t.keys.begin + int64_t(range.begin + range.size() / 2) * stage_.chunk;
    return {Token(first), Token(smaller<int64_t>(first + stage_.chunk, t.keys.end))};
  }
  Token samplesOf(const Tree& t, int64_t child) const {
    return ceilDiv(tokensOf(t, child).size(), problem_.strideKeys);
  }

  const SelectionProblem problem_;
  const Kernels& kernels_;
  const SelectionStage& stage_;
};

}  // namespace

std::shared_ptr<Job> treeJob(const SelectionProblem& problem, const Kernels& kernels) {
  const auto selection = std::make_shared<TreeJob>(problem, kernels);
  const auto job = std::make_shared<Job>();
  job->items = selection->items();
  job->work = [selection](int64_t item, Worker& worker) { selection->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
