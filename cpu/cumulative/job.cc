// cumulativeAttention as work items: a head of a batch entry, token by token.
// Reader: see core/op/cumulative.h for the rule. Tokens join the sum of their chunk, which begins with 0, and a row is
// that sum merged with the one of all chunks before.
#include "job.h"

#include "../../core/base/softmax.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

char* at(const Operand& operand, DType type, int64_t b, Token t, int32_t h) {
  return static_cast<char*>(operand.data) + operand.offset(b, t, h) * sizeOf(type);
}

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

class CumulativeJob {
 public:
  CumulativeJob(const CumulativeProblem& problem, const Kernels& kernels) : p_(problem), kernels_(kernels) {}

  int64_t items() const { return int64_t(p_.batch) * p_.heads; }

  void work(int64_t item, Worker& worker) const {
    const int64_t b = item / p_.heads;
    const int32_t head = int32_t(item % p_.heads);
    const int32_t dim = p_.valueDim;
    float* const memory = worker.floats(4 * int64_t(dim));
    WeightedSum before{{}, memory}, chunk{{}, memory + dim};
    float *const value = memory + 2 * int64_t(dim), *const row = memory + 3 * int64_t(dim);
    load(item, before);
    for (Token t = 0; t < p_.tokens; ++t) {
      if (t % kCumulativeChunk == 0) {
        if (t > 0) join(before, chunk.state, chunk.row, dim);
        chunk.state = {};
        for (int32_t d = 0; d < dim; ++d) chunk.row[d] = 0;
        if (!worker.pause()) return;
      }
      SoftmaxState token;
      token.max = p_.scores[b * p_.scoreBatch + head * p_.scoreHead + t * p_.scoreToken];
      token.sum = token.max == -INFINITY ? 0 : 1;
      if (token.sum != 0) {  // what is hidden is not read: it could only add NaN
        kernels_.readRow(at(p_.value, p_.dtype, b, t, head), p_.dtype, p_.value.dim, dim, value);
        join(chunk, token, value, dim);
      }
      SoftmaxState seen = before.state;
      const MergeFactors f = merge(seen, chunk.state);
      const float scale = seen.outputScale(), ofBefore = f.into * scale, ofChunk = f.from * scale;
      for (int32_t d = 0; d < dim; ++d) row[d] = before.row[d] * ofBefore + chunk.row[d] * ofChunk;
      kernels_.writeRow(row, dim, p_.dtype, p_.out.dim, at(p_.out, p_.dtype, b, t, head));
      if (p_.lse) p_.lse[b * p_.lseBatch + head * p_.lseHead + t * p_.lseToken] = seen.lse();
    }
    if (p_.tokens > 0) join(before, chunk.state, chunk.row, dim);
    store(item, before);
  }

 private:
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
};

}  // namespace

void addReasons(Reasons&, const CumulativeProblem&) {}

double flopsOf(const CumulativeProblem& p) { return 8.0 * p.batch * p.heads * p.tokens * (p.valueDim + 16); }

int32_t jobsOf(const CumulativeProblem&) { return 1; }

LinearPasses passesOf(const CumulativeProblem& p, int) { return {kCumulativeChunk, 1, false, p.operandBytes()}; }

std::shared_ptr<Job> jobOf(const CumulativeProblem& problem, int32_t, const Kernels& kernels, int) {
  const auto cumulative = std::make_shared<const CumulativeJob>(problem, kernels);
  const auto job = std::make_shared<Job>();
  job->items = cumulative->items();
  job->work = [cumulative](int64_t item, Worker& worker) { cumulative->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
