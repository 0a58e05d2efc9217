// Jobs of the CPU backend by hand: their items in any order, one at a time, give the bits of a call, and write every
// row once. What the last item of several joins is then seen to be joined too early whenever a count is wrong, not only
// when threads race.
// Reader: someone who changed how work is split.
#include <algorithm>
#include <cstring>
#include <random>

#include "../../../cpu/backend.h"
#include "../../../cpu/operations.h"
#include "../../../cpu/runtime/dispatch.h"
#include "../check.h"
#include "../problems.h"

using namespace tilewise;

namespace {

struct Results {
  std::vector<char> out;
  std::vector<float> lse;
  bool operator==(const Results& other) const {
    return out == other.out && lse.size() == other.lse.size() &&
           std::memcmp(lse.data(), other.lse.data(), lse.size() * sizeof(float)) == 0;
  }
};

Results takeResults(Case& c) {
  const AttentionProblem& p = c.problem;
  const size_t rows = size_t(p.batch) * size_t(p.outputHeads()) * size_t(p.queries);
  const size_t bytes = rows * size_t(p.valueDim) * size_t(sizeOf(p.dtype));
  char* const out = static_cast<char*>(p.out.data);
  float* const lse = p.lse;
  const Results results{{out, out + bytes}, {lse, lse + rows}};
  std::memset(out, 0xff, bytes);
  std::memset(lse, 0xff, rows * sizeof(float));
  return results;
}

// Which rows items have written, by their lse.
class Once {
 public:
  explicit Once(const AttentionProblem& p)
      : lse_(p.lse),
        values_(size_t(p.batch) * size_t(p.outputHeads()) * size_t(p.queries), 0),
        writes_(values_.size(), 0) {
    std::memcpy(values_.data(), lse_, values_.size() * sizeof(uint32_t));
  }
  void note() {
    for (size_t row = 0; row < values_.size(); ++row) {
      uint32_t bits;
      std::memcpy(&bits, lse_ + row, sizeof bits);
      if (bits == kUntouched) continue;
      ++writes_[row];
      values_[row] = bits;
      std::memset(lse_ + row, 0xff, sizeof bits);
    }
  }
  void putBack() const { std::memcpy(lse_, values_.data(), values_.size() * sizeof(uint32_t)); }
  int most() const { return *std::max_element(writes_.begin(), writes_.end()); }

 private:
  static constexpr uint32_t kUntouched = 0xffffffff;
  float* lse_;
  std::vector<uint32_t> values_;
  std::vector<int> writes_;
};

void checkOrders(Case& c, const std::string& set, uint32_t seed) {
  cpu::backend().run(c.problem, CancelFlag{false});
  const Results expected = takeResults(c);
  cpu::Worker worker;
  for (const int threads : {1, 2, 64}) {
    const auto job = cpu::jobOf(c.problem, 0, cpu::activeKernels(), threads);
    std::vector<int64_t> order(size_t(job->items), 0);
    for (size_t i = 0; i < order.size(); ++i) order[i] = int64_t(order.size() - 1 - i);
    if (seed % 2) std::shuffle(order.begin(), order.end(), std::mt19937(seed));
    Once rows(c.problem);
    for (const int64_t item : order) {
      job->work(item, worker);
      rows.note();
    }
    rows.putBack();
    CHECK(rows.most() <= 1, "%s: %s: a row is written %d times", set.c_str(), c.name.c_str(), rows.most());
    CHECK(takeResults(c) == expected, "%s: %s: other bits as %d items for %d threads", set.c_str(), c.name.c_str(),
          int(job->items), threads);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 60;
  const int32_t lengths[] = {1, 1, 2, 60}, keys[] = {200, 1500, 5000};
  for (int seed = 0; seed < rounds; ++seed) {
    CaseMaker maker{uint32_t(seed)};
    const int32_t queries = lengths[maker.pick(4)];
    const auto c = maker.draw(queries, keys[maker.pick(3)], 16, 16);
    c->problem.cosine = {};  // its items wait for those that write lengths, which are begun before them
    c->name = "seed " + std::to_string(seed) + ": " + c->name;
    for (const std::string& set : cpu::backend().instructionSets()) {
      cpu::backend().setInstructionSet(set);
      checkOrders(*c, set, uint32_t(seed));
    }
  }
  return finish("jobs");
}
