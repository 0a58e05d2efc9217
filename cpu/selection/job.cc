// One stage of a selection as work items: blocks of queries, and ranges of their candidates where there are few blocks.
// Reader: see core/op/selection.h for the rule. Lists are written once, by whoever finishes a block last; scores do not
// depend on who computes them, so lists are the same for any number of threads.
//
// Memory: per thread the sampled rows of a KV head's query heads for up to kBlocksPerItem blocks of queries, and up to
// 136 bytes per candidate of a block (272 kB at 128k keys in chunks of 64); per call 4 bytes per candidate and block
// where candidates are split, which happens only while there are fewer than 4 blocks per thread.
#include <atomic>
#include <vector>

#include "job.h"
#include "selecting.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

constexpr int32_t kMaxSampledRows = 1 << 16;  // of a block: each thread holds them, per head of a group

// Chunks on their way down. Of the better keys on its way the last two come back as candidates of small halves.
struct Descents {
  Token low[kChunksTogether], high[kChunksTogether];
  float best[kChunksTogether];
  Token last[kChunksTogether], beforeLast[kChunksTogether];
  float lastScore[kChunksTogether], beforeLastScore[kChunksTogether];
  int32_t left[kChunksTogether], right[kChunksTogether];  // the halves' keys among the scored ones, or what follows
  static constexpr int32_t kLast = -1, kBeforeLast = -2;

  void start(const Token* chunks, int n, Token chunk, Token end) {
    for (int c = 0; c < n; ++c) {
      low[c] = chunks[c];
      high[c] = chunks[c] + smaller(chunk, end - chunks[c]);
      best[c] = -INFINITY;
      last[c] = beforeLast[c] = -1;
    }
  }

  float scoreAt(int c, int32_t at, const float* scores) const {
    return at >= 0 ? scores[at] : at == kLast ? lastScore[c] : beforeLastScore[c];
  }

  // Goes on in the better half; of equals in the left one.
  void step(int c, Token leftToken, Token rightToken, float leftScore, float rightScore, Token middle) {
    const bool isRight = rightScore > leftScore;
    beforeLast[c] = last[c];
    beforeLastScore[c] = lastScore[c];
    last[c] = isRight ? rightToken : leftToken;
    lastScore[c] = isRight ? rightScore : leftScore;
    best[c] = larger(best[c], lastScore[c]);
    low[c] = isRight ? middle : low[c];
    high[c] = isRight ? high[c] : middle;
  }
};

class StageJob {
 public:
  StageJob(const SelectionProblem& problem, int32_t s, const Kernels& kernels, int threads)
      : problem_(problem), s_(s), kernels_(kernels) {
    const SelectionProblem& p = problem_;
    const SelectionStage& stage = p.stage[s];
    rows_ = sampledRows({0, smaller(p.queries, stage.blockQueries)}, stage.strideQueries);
    const int64_t all = ceilDiv<int64_t>(larger<Token>(0, p.keys - p.sink), stage.chunk);
    candidates_ = s == 0 ? all : smaller(all, int64_t(p.stage[s - 1].chunk / stage.chunk) * p.stage[s - 1].keep);
    const int64_t lists = int64_t(p.batch) * p.lists(), blocks = p.blocks(s);
    if (s == 0) {
      const int64_t rows = larger<int64_t>(1, int64_t(rows_) * p.headsPerList);
      const int32_t most = int32_t(clamp<int64_t>(kRowsPerItem / rows, 1, kBlocksPerItem));
      blocksPerItem_ = lists * blocks < int64_t(4) * threads * most ? 1 : most;
    }
    groups_ = ceilDiv<int64_t>(blocks, blocksPerItem_);
    const int64_t items = lists * groups_;
    if (items > 0 && items < int64_t(4) * threads) {
      ranges_ = clamp<int64_t>(ceilDiv<int64_t>(4 * int64_t(threads), items), 1,
                               larger<int64_t>(1, candidates_ / kLeastRange));
    }
    if (ranges_ > 1) {
      scores_.resize(size_t(items * candidates_));
      finished_ = std::vector<std::atomic<int32_t>>(size_t(items));
    }
  }

  int64_t items() const { return int64_t(problem_.batch) * problem_.lists() * groups_ * ranges_; }

  void work(int64_t item, Worker& worker) {
    const SelectionProblem& p = problem_;
    const int64_t range = item % ranges_, list = item / ranges_ / groups_;
    const int64_t group = groups_ - 1 - item / ranges_ % groups_;  // the longest first
    Memory m;
    m = layOut(worker.floats(layOut(nullptr).floats));
    Blocks blocks;
    blocks.batch = int32_t(list / p.lists());
    blocks.list = int32_t(list % p.lists());
    blocks.first = Token(group * blocksPerItem_);
    blocks.count = int32_t(smaller<int64_t>(blocksPerItem_, p.blocks(s_) - blocks.first));
    const int64_t shared = list * groups_ + group;
    if (ranges_ > 1) m.scores = scores_.data() + shared * candidates_;

    int64_t longest = 0;
    for (int32_t i = 0; i < blocks.count; ++i) {
      const Range queries = p.queriesOf(s_, blocks.first + i);
      const Range keys = p.candidates(blocks.batch, queries);
      blocks.end[i] = keys.end;
      blocks.candidates[i] = s_ == 0 ? ceilDiv<int64_t>(keys.size(), p.stage[0].chunk)
                                     : split(blocks.batch, blocks.list, blocks.first, keys.end, m.starts);
      longest = larger(longest, blocks.candidates[i]);
    }
    const int64_t step = ceilDiv(longest, ranges_), begin = range * step, end = smaller(longest, begin + step);
    for (int32_t i = 0; i < blocks.count; ++i) {
      for (int64_t c = begin; c < end; ++c) m.scores[i * candidates_ + c] = -INFINITY;
    }
    const Range heads{blocks.list * p.headsPerList, (blocks.list + 1) * p.headsPerList};
    for (int32_t head = heads.begin; head < heads.end;) {
      int32_t next = head + 1;
      while (next < heads.end && p.kvHeadOf(next) == p.kvHeadOf(head)) ++next;
      searchHeads(blocks, {head, next}, begin, end, m);
      head = next;
    }
    // The last range to finish keeps the best of all.
    if (ranges_ > 1 && finished_[size_t(shared)].fetch_add(1, std::memory_order_acq_rel) + 1 < ranges_) return;
    for (int32_t i = 0; i < blocks.count; ++i) {
      writeList(p, s_, p.listAt(s_, blocks.batch, blocks.list, blocks.first + i), m.scores + i * candidates_,
                blocks.candidates[i], m.order, [&](int64_t c) { return startOf(c, m); });
    }
  }

 private:
  // The blocks of queries of one item.
  struct Blocks {
    int32_t batch, list;
    Token first;
    int32_t count;
    Token end[kBlocksPerItem];  // of their candidates
    int64_t candidates[kBlocksPerItem];
  };

  struct Memory {
    Token* starts;  // [candidates_], later stages
    float* scores;  // [blocksPerItem_][candidates_]
    uint64_t* order;  // [candidates_]
    Descents* descents;
    Token *chunks, *tokens;  // [kChunksTogether], [2 * kChunksTogether]
    float* tokenScores;
    float* staging;
    float* rows;  // [query heads of a KV head][blocksPerItem_][rowFloats]
    int64_t rowFloats;
    int64_t floats;
  };

  Memory layOut(float* base) const {
    const SelectionProblem& p = problem_;
    Memory m;
    Carver carver(base);
    carver.take(m.starts, s_ == 0 ? 0 : candidates_);
    carver.take(m.scores, ranges_ > 1 ? 0 : blocksPerItem_ * candidates_);
    carver.take(m.order, candidates_);
    carver.take(m.descents, 1);
    carver.take(m.chunks, kChunksTogether);
    carver.take(m.tokens, 2 * kChunksTogether);
    carver.take(m.tokenScores, 2 * kChunksTogether);
    carver.take(m.staging, kernels_.keyFloats(p.headDim));
    m.rowFloats = (kernels_.sampledFloats(p.headDim, rows_) + 15) & ~15;
    const int32_t perKvHead = smaller(p.headsPerList, larger(1, p.outputHeads() / p.kvHeads));
    carver.take(m.rows, perKvHead * blocksPerItem_ * m.rowFloats);
    m.floats = carver.floats();
    return m;
  }

  Token startOf(int64_t candidate, const Memory& m) const {
    return s_ == 0 ? Token(problem_.sink + candidate * problem_.stage[0].chunk) : m.starts[candidate];
  }

  // The chunks of the block's list in the stage before, cut into this stage's; how many are before `end`. That list is
  // memory of the caller's: whatever it holds, the tokens that come out are candidates and ascend.
  int64_t split(int32_t b, int32_t list, Token block, Token end, Token* starts) const {
    const SelectionProblem& p = problem_;
    const SelectionStage &from = p.stage[s_ - 1], &to = p.stage[s_];
    const int64_t parent = p.listAt(s_ - 1, b, list, Token(int64_t(block) * to.blockQueries / from.blockQueries));
    const volatile int32_t* parents = from.starts + parent * from.keep;
    const Token count = clamp<Token>(static_cast<const volatile int32_t*>(from.counts)[parent], 0, from.keep);
    int64_t n = 0;
    Token least = p.sink;
    for (Token i = 0; i < count; ++i) {
      const Token first = parents[i];
      if (first < least || first >= end) continue;
      const Token length = smaller(from.chunk, end - first);
      for (Token offset = 0; offset < length; offset += to.chunk) starts[n++] = first + offset;
      least = first + length;
    }
    return n;
  }

  // Candidates [begin, end) of every block, by query heads of one KV head.
  void searchHeads(const Blocks& blocks, const Range& heads, int64_t begin, int64_t end, const Memory& m) const {
    const SelectionProblem& p = problem_;
    const SelectionStage& stage = p.stage[s_];
    const auto rowsAt = [&](int32_t head, int32_t i) {
      return m.rows + (int64_t(head - heads.begin) * blocksPerItem_ + i) * m.rowFloats;
    };
    for (int32_t head = heads.begin; head < heads.end; ++head) {
      for (int32_t i = 0; i < blocks.count; ++i) {
        const Range queries = p.queriesOf(s_, blocks.first + i);
        kernels_.layOutRows(rowsOf(p, blocks.batch, head, queries, stage.strideQueries), rowsAt(head, i));
      }
    }
    const KeyList keys = keysOf(p, blocks.batch, heads.begin);
    for (int64_t first = begin; first < end; first += kChunksTogether) {
      const int n = int(smaller<int64_t>(kChunksTogether, end - first));
      for (int c = 0; c < n; ++c) m.chunks[c] = startOf(first + c, m);
      for (int32_t head = heads.begin; head < heads.end; ++head) {
        for (int32_t i = 0; i < blocks.count; ++i) {
          const int own = int(clamp<int64_t>(blocks.candidates[i] - first, 0, n));
          const int rows = sampledRows(p.queriesOf(s_, blocks.first + i), stage.strideQueries);
          search(keys, rowsAt(head, i), rows, own, blocks.end[i], m.scores + i * candidates_ + first, m);
        }
      }
    }
  }

  // Halves chunks [0, n) down to a token each and raises their scores to the best on the way.
  void search(KeyList keys, const float* rows, int rowCount, int n, Token end, float* scores, const Memory& m) const {
    const Token chunk = problem_.stage[s_].chunk;
    Descents& d = *m.descents;
    d.start(m.chunks, n, chunk, end);
    keys.tokens = m.tokens;
    const auto scoreTokens = [&] { kernels_.scoreKeys(keys, rows, rowCount, m.staging, m.tokenScores); };
    // Whole chunks of a power of two go down in step, and until halves are of two tokens no key comes back.
    const bool isEven = (chunk & (chunk - 1)) == 0;
    const int whole = !isEven ? 0 : n > 0 && d.high[n - 1] - d.low[n - 1] < chunk ? n - 1 : n;
    for (Token size = chunk; whole > 0 && size >= 4; size /= 2) {
      for (int c = 0; c < whole; ++c) {
        m.tokens[2 * c] = d.low[c] + size / 4;
        m.tokens[2 * c + 1] = d.low[c] + size / 4 * 3;
      }
      keys.count = 2 * whole;
      scoreTokens();
      for (int c = 0; c < whole; ++c) {
        d.step(c, m.tokens[2 * c], m.tokens[2 * c + 1], m.tokenScores[2 * c], m.tokenScores[2 * c + 1],
               d.low[c] + size / 2);
      }
    }
    for (;;) {
      keys.count = 0;
      for (int c = 0; c < n; ++c) {
        if (d.low[c] == d.high[c]) continue;
        const Token middle = (d.low[c] + d.high[c]) >> 1;
        d.left[c] = place(d, c, (d.low[c] + middle) >> 1, m.tokens, keys.count);
        d.right[c] = place(d, c, (middle + d.high[c]) >> 1, m.tokens, keys.count);
      }
      if (keys.count > 0) scoreTokens();
      bool isDown = true;
      for (int c = 0; c < n; ++c) {
        if (d.low[c] == d.high[c]) continue;
        const Token middle = (d.low[c] + d.high[c]) >> 1;
        d.step(c, (d.low[c] + middle) >> 1, (middle + d.high[c]) >> 1, d.scoreAt(c, d.left[c], m.tokenScores),
               d.scoreAt(c, d.right[c], m.tokenScores), middle);
        isDown &= d.high[c] - d.low[c] <= 1;
        if (d.high[c] - d.low[c] <= 1) d.high[c] = d.low[c];
      }
      if (isDown) break;
    }
    for (int c = 0; c < n; ++c) scores[c] = larger(scores[c], d.best[c]);
  }

  // Where a key's score will be: among those of the list, which it joins, or among those seen before.
  static int32_t place(const Descents& d, int c, Token token, Token* tokens, int& count) {
    if (token == d.last[c]) return Descents::kLast;
    if (token == d.beforeLast[c]) return Descents::kBeforeLast;
    tokens[count] = token;
    return count++;
  }

  const SelectionProblem problem_;
  const int32_t s_;
  const Kernels& kernels_;
  int rows_;  // of a whole block
  int64_t candidates_;  // most of a block
  int64_t groups_ = 0, ranges_ = 1;
  int32_t blocksPerItem_ = 1;
  std::vector<float> scores_;
  std::vector<std::atomic<int32_t>> finished_;
};

}  // namespace

void addReasons(Reasons& reasons, const SelectionProblem& p) {
  reasons.range("headDim", p.headDim, 1, kMaxDim);
  for (int32_t s = 0; s < p.stages; ++s) {
    const Token queries = smaller(p.queries, p.stage[s].blockQueries);
    reasons.range("queries sampled of a block", ceilDiv(queries, p.stage[s].strideQueries), 0, kMaxSampledRows);
  }
}

// A tenth of the keys against a quarter of the queries, roughly.
double flopsOf(const SelectionProblem& p) {
  return 0.05 * p.batch * p.outputHeads() * p.queries * double(p.keys) * p.headDim;
}

int32_t jobsOf(const SelectionProblem& problem) { return problem.stages - problem.firstStage; }

// A stage reads what the one before has kept.
std::shared_ptr<Job> jobOf(const SelectionProblem& problem, int32_t index, const Kernels& kernels, int threads) {
  if (problem.method == SelectionMethod::tree) return treeJob(problem, kernels);
  const auto selection = std::make_shared<StageJob>(problem, problem.firstStage + index, kernels, threads);
  const auto job = std::make_shared<Job>();
  job->items = selection->items();
  job->work = [selection](int64_t item, Worker& worker) { selection->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
