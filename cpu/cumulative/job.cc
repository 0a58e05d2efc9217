// cumulativeAttention as work items: a head of a batch entry, token by token, and groups of its chunks where heads are
// too few. Reader: see core/op/cumulative.h for the rule, linear/groups.h for groups. Tokens join the sum of their
// chunk, chunks that of their group, which both begin with 0, and a row is these merged with what the groups before it
// sum up to: one pass and two give the same bits.
#include "job.h"

#include <cstring>

#include "../../core/base/softmax.h"
#include "../linear/groups.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

char* at(const Operand& operand, DType type, int64_t b, Token t, int32_t h) {
  return static_cast<char*>(operand.data) + operand.offset(b, t, h) * sizeOf(type);
}

struct Division {
  explicit Division(const CumulativeProblem& p)
      : ofTokens(p.tokens, kCumulativeChunk), groups(ofTokens.countOf(p.tokens)) {}
  bool isSplit(const CumulativeProblem& p, int threads) const {
    return groups > 1 && kTwoPasses * p.batch * p.heads < threads;
  }

  ChunkGroups ofTokens;
  int64_t groups;
};

// A sum of weighted rows; `row` has valueDim numbers.
struct WeightedSum {
  SoftmaxState state;
  float* row;
};

// Into's row becomes the sum of both.
void join(WeightedSum& into, const SoftmaxState& state, const float* row, int32_t dim) {
  const MergeFactors f = merge(into.state, state);
  for (int32_t d = 0; d < dim; ++d) into.row[d] = into.row[d] * f.into + row[d] * f.from;
}

void clear(WeightedSum& sum, int32_t dim) {
  sum.state = {};
  std::memset(sum.row, 0, size_t(dim) * sizeof(float));
}
void copy(const WeightedSum& from, WeightedSum& to, int32_t dim) {
  to.state = from.state;
  std::memcpy(to.row, from.row, size_t(dim) * sizeof(float));
}

class CumulativeJob {
 public:
  CumulativeJob(const CumulativeProblem& problem, int32_t phase, const Kernels& kernels, int threads)
      : p_(problem), kernels_(kernels), phase_(ScanPhase(phase)), division_(problem) {
    LinearStates& states = *p_.states;
    if (phase_ == kSums) {
      states.areSplit = division_.isSplit(p_, threads);
      if (states.areSplit) states.memory.reset(new float[size_t(heads() * (division_.groups + 1) * sumFloats())]);
    }
    isSplit_ = states.areSplit;
  }

  int64_t items() const {
    if (!isSplit_) return phase_ == kOutputs ? heads() : 0;
    return phase_ == kCarries ? heads() : heads() * division_.groups;
  }

  void work(int64_t item, Worker& worker) const {
    if (phase_ == kCarries) return carry(item, worker);
    if (!isSplit_) return runAll(item, worker);
    const int64_t head = item / division_.groups, group = item % division_.groups;
    const Range tokens = division_.ofTokens.at(group, p_.tokens);
    WeightedSum end = sumIn(worker, kEnd);
    if (phase_ == kOutputs) {
      const WeightedSum before = readSum(head, group);
      return pass(head, tokens, &before, end, worker);
    }
    if (tokens.end == p_.tokens && !p_.after.max) return;
    pass(head, tokens, nullptr, end, worker);
    writeSum(end, head, group + 1);
  }

 private:
  // Rows of a thread's memory.
  enum Row { kBefore, kEnd, kSeen, kChunk, kValue, kOut, kRows };

  int64_t heads() const { return int64_t(p_.batch) * p_.heads; }
  WeightedSum sumIn(Worker& worker, Row row) const {
    return {{}, worker.floats(kRows * int64_t(p_.valueDim)) + row * int64_t(p_.valueDim)};
  }

  // A group's tokens: their sum, and where `before` is what all tokens before it sum up to their outputs.
  void pass(int64_t item, Range tokens, const WeightedSum* before, WeightedSum& end, Worker& worker) const {
    const int64_t b = item / p_.heads;
    const int32_t head = int32_t(item % p_.heads);
    const int32_t dim = p_.valueDim;
    WeightedSum seen = sumIn(worker, kSeen), chunk = sumIn(worker, kChunk);
    float *const value = sumIn(worker, kValue).row, *const out = sumIn(worker, kOut).row;
    clear(end, dim);
    clear(chunk, dim);
    for (Token t = tokens.begin; t < tokens.end; ++t) {
      if ((t - tokens.begin) % kCumulativeChunk == 0) {
        if (!worker.pause()) return;
        join(end, chunk.state, chunk.row, dim);
        clear(chunk, dim);
        if (before) {
          copy(*before, seen, dim);
          join(seen, end.state, end.row, dim);
        }
      }
      SoftmaxState token;
      token.max = p_.scores[b * p_.scoreBatch + head * p_.scoreHead + t * p_.scoreToken];
      token.sum = token.max == -INFINITY ? 0 : 1;
      if (token.sum != 0) {  // what is hidden is not read: it could only add NaN
        kernels_.readRow(at(p_.value, p_.dtype, b, t, head), p_.dtype, p_.value.dim, dim, value);
        join(chunk, token, value, dim);
      }
      if (!before) continue;
      SoftmaxState all = seen.state;
      const MergeFactors f = merge(all, chunk.state);
      const float scale = all.outputScale(), ofSeen = f.into * scale, ofChunk = f.from * scale;
      for (int32_t d = 0; d < dim; ++d) out[d] = seen.row[d] * ofSeen + chunk.row[d] * ofChunk;
      kernels_.writeRow(out, dim, p_.dtype, p_.out.dim, at(p_.out, p_.dtype, b, t, head));
      if (p_.lse) p_.lse[b * p_.lseBatch + head * p_.lseHead + t * p_.lseToken] = all.lse();
    }
    join(end, chunk.state, chunk.row, dim);
  }

  void runAll(int64_t item, Worker& worker) const {
    WeightedSum before = sumIn(worker, kBefore), end = sumIn(worker, kEnd);
    load(item, before);
    for (int64_t group = 0; group < division_.groups; ++group) {
      pass(item, division_.ofTokens.at(group, p_.tokens), &before, end, worker);
      if (!worker.pause()) return;
      join(before, end.state, end.row, p_.valueDim);
    }
    store(item, before);
  }

  // What a group sums up becomes what the next one begins with.
  void carry(int64_t item, Worker& worker) const {
    WeightedSum before = sumIn(worker, kBefore);
    load(item, before);
    for (int64_t group = 0; group < division_.groups; ++group) {
      writeSum(before, item, group);
      if (group + 1 == division_.groups && !p_.after.max) return;
      const WeightedSum end = readSum(item, group + 1);
      join(before, end.state, end.row, p_.valueDim);
    }
    store(item, before);
  }

  // Sums between jobs, per head: what groups 0, 1 ... begin with; until kCarries what they sum up, one place behind.
  int64_t sumFloats() const { return 2 + int64_t(p_.valueDim); }
  float* sumAt(int64_t item, int64_t group) const {
    return p_.states->memory.get() + (item * (division_.groups + 1) + group) * sumFloats();
  }
  WeightedSum readSum(int64_t item, int64_t group) const {
    float* const from = sumAt(item, group);
    WeightedSum sum{{}, from + 2};
    sum.state.max = from[0];
    sum.state.sum = from[1];
    return sum;
  }
  void writeSum(const WeightedSum& sum, int64_t item, int64_t group) const {
    float* const to = sumAt(item, group);
    to[0] = sum.state.max;
    to[1] = sum.state.sum;
    std::memcpy(to + 2, sum.row, size_t(p_.valueDim) * sizeof(float));
  }

  void load(int64_t item, WeightedSum& sum) const {
    for (int32_t d = 0; d < p_.valueDim; ++d) sum.row[d] = 0;
    if (!p_.before.max) return;
    sum.state.max = p_.before.max[item];
    sum.state.sum = p_.before.sum[item];
    for (int32_t d = 0; d < p_.valueDim; ++d) sum.row[d] = p_.before.weighted[item * p_.valueDim + d];
  }
  void store(int64_t item, const WeightedSum& sum) const {
    if (!p_.after.max) return;
    p_.after.max[item] = sum.state.max;
    p_.after.sum[item] = sum.state.sum;
    for (int32_t d = 0; d < p_.valueDim; ++d) p_.after.weighted[item * p_.valueDim + d] = sum.row[d];
  }

  const CumulativeProblem p_;
  const Kernels& kernels_;
  const ScanPhase phase_;
  const Division division_;
  bool isSplit_ = false;
};

}  // namespace

void addReasons(Reasons&, const CumulativeProblem&) {}

double flopsOf(const CumulativeProblem& p) { return 8.0 * p.batch * p.heads * p.tokens * (p.valueDim + 16); }

int32_t jobsOf(const CumulativeProblem&) { return kScanPhases; }

LinearPasses passesOf(const CumulativeProblem& p, int threads) {
  const Division division(p);
  LinearPasses passes{kCumulativeChunk, 1, division.isSplit(p, threads), p.operandBytes()};
  if (!passes.isSplit) return passes;
  passes.groups = division.groups;
  // Scores and values are read again; sums of groups are written, carried on and read.
  const double heads = double(p.batch) * p.heads, sum = (2.0 + p.valueDim) * double(sizeof(float));
  passes.bytes += heads * p.tokens * (double(sizeof(float)) + double(p.valueDim) * double(sizeOf(p.dtype)));
  passes.bytes += 4 * heads * double(division.groups) * sum;
  return passes;
}

std::shared_ptr<Job> jobOf(const CumulativeProblem& problem, int32_t index, const Kernels& kernels, int threads) {
  const auto cumulative = std::make_shared<const CumulativeJob>(problem, index, kernels, threads);
  const auto job = std::make_shared<Job>();
  job->items = cumulative->items();
  job->work = [cumulative](int64_t item, Worker& worker) { cumulative->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
