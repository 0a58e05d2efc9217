// rotate() as work items: a few tokens with all their heads, which share the cosines and sines.
// Reader: see core/op/rotary.h for the rule, rotate_row.inl for a row. Bound by memory and by the cosines.
#include "job.h"

#include <cstdlib>

#include "../../core/base/box.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

class RotaryJob {
 public:
  RotaryJob(const RotaryProblem& problem, const Kernels& kernels)
      : p_(problem), kernels_(kernels), itemsPerEntry_(ceilDiv(problem.tokens, kTokensPerItem)) {}

  int64_t items() const { return int64_t(p_.batch) * itemsPerEntry_; }

  void work(int64_t item, Worker& worker) const {
    const int64_t b = item / itemsPerEntry_;
    const Token begin = Token(item % itemsPerEntry_) * kTokensPerItem;
    const Range tokens{begin, smaller(p_.tokens, begin + kTokensPerItem)};
    float* const rotations = worker.floats((kTokensPerItem + 1) * 2 * int64_t(p_.pairs));
    float* const row = rotations + kTokensPerItem * 2 * int64_t(p_.pairs);
    if (!p_.headsShareRotations()) {
      for (int32_t head = 0; head < p_.heads; ++head) {
        fill(b, tokens, head, rotations);
        rotateHead(b, tokens, head, rotations, row);
      }
      return;
    }
    fill(b, tokens, 0, rotations);
    if (std::llabs(p_.in.token) < std::llabs(p_.in.head)) {
      for (int32_t head = 0; head < p_.heads; ++head) rotateHead(b, tokens, head, rotations, row);
      return;
    }
    // Rows in the order in which they are in memory.
    for (Token t = tokens.begin; t < tokens.end; ++t) {
      for (int32_t head = 0; head < p_.heads; ++head)
        rotateHead(b, {t, t + 1}, head, rotationsAt(rotations, t - begin), row);
    }
  }

 private:
  float* rotationsAt(float* rotations, Token index) const { return rotations + index * 2 * int64_t(p_.pairs); }

  void fill(int64_t b, const Range& tokens, int32_t head, float* rotations) const {
    for (Token t = tokens.begin; t < tokens.end; ++t)
      kernels_.makeRotations(p_, b, t, head, rotationsAt(rotations, t - tokens.begin));
  }

  void rotateHead(int64_t b, const Range& tokens, int32_t head, float* rotations, float* row) const {
    for (Token t = tokens.begin; t < tokens.end; ++t) {
      kernels_.rotateRow({rowOf(p_.in, b, t, head), p_.in.dim, rowOf(p_.out, b, t, head), p_.out.dim, p_.dtype,
                          p_.headDim, p_.pairs, p_.isInterleaved, rotationsAt(rotations, t - tokens.begin)},
                         row);
    }
  }

  char* rowOf(const Operand& operand, int64_t b, Token t, int32_t head) const {
    return static_cast<char*>(operand.data) + operand.offset(b, t, head) * sizeOf(p_.dtype);
  }

  const RotaryProblem p_;
  const Kernels& kernels_;
  const int64_t itemsPerEntry_;
};

}  // namespace

void addReasons(Reasons&, const RotaryProblem&) {}

// Of the time of a number of a row a cosine and a sine take about three times as much.
double flopsOf(const RotaryProblem& p) {
  const double rotations = double(p.pairs) * (p.headsShareRotations() ? 1 : p.heads);
  return double(p.batch) * p.tokens * (30 * rotations + 10.0 * p.heads * p.headDim);
}

int32_t jobsOf(const RotaryProblem&) { return 1; }

std::shared_ptr<Job> jobOf(const RotaryProblem& problem, int32_t, const Kernels& kernels, int) {
  const auto rotary = std::make_shared<const RotaryJob>(problem, kernels);
  const auto job = std::make_shared<Job>();
  job->items = rotary->items();
  job->work = [rotary](int64_t item, Worker& worker) { rotary->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
