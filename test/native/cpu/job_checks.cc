// Jobs of the CPU backend by hand: their items in any order, one at a time, give the bits of a call. What the last item
// of several joins is then joined too early or twice whenever a count is wrong, not only when threads race.
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

void checkOrders(Case& c, const std::string& set, uint32_t seed) {
  cpu::backend().run(c.problem, CancelFlag{false});
  const Results expected = takeResults(c);
  cpu::Worker worker;
  for (const int threads : {1, 2, 64}) {
    const auto job = cpu::jobOf(c.problem, 0, cpu::activeKernels(), threads);
    std::vector<int64_t> order(size_t(job->items), 0);
    for (size_t i = 0; i < order.size(); ++i) order[i] = int64_t(order.size() - 1 - i);
    if (seed % 2) std::shuffle(order.begin(), order.end(), std::mt19937(seed));
    for (const int64_t item : order) job->work(item, worker);
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
    c->name = "seed " + std::to_string(seed) + ": " + c->name;
    for (const std::string& set : cpu::backend().instructionSets()) {
      cpu::backend().setInstructionSet(set);
      checkOrders(*c, set, uint32_t(seed));
    }
  }
  return finish("jobs");
}
