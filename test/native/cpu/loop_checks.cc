// Every instruction set against float64 on random problems: shapes that cross tiles, splits, tails and options.
// The TypeScript conformance suite is the real specification; this one runs where Node cannot (sanitizers, emulators).
#include <cmath>

#include "../../../cpu/backend.h"
#include "../check.h"
#include "../problems.h"

using namespace tilewise;

namespace {

void checkAnswer(const Case& c, const std::string& instructionSet) {
  const AttentionProblem& p = c.problem;
  // Storage rounding of the output, float32 sums of up to some hundred terms, and a few roundings of the scores.
  const double bound = 2e-6 + 0x1p-22 * c.largestScore;
  const double ulp = p.dtype == DType::float32 ? bound : p.dtype == DType::float16 ? 0x1p-11 : 0x1p-8;
  const double out = outError(c, ulp), lse = lseError(c);
  CHECK(out < c.largestWeights * bound, "%s: %s: out is off by %g", instructionSet.c_str(), c.name.c_str(), out);
  CHECK(lse < bound, "%s: %s: lse is off by %g", instructionSet.c_str(), c.name.c_str(), lse);
}

// Without lse, too, where rows that a gate closes are not computed.
void check(Case& c) {
  AttentionProblem& p = c.problem;
  for (const std::string& set : cpu::backend().instructionSets()) {
    cpu::backend().setInstructionSet(set);
    cpu::backend().run(p, CancelFlag{false});
    checkAnswer(c, set);
    if (!p.gate.isPresent()) continue;
    const Placed<float> lse = p.lse;
    p.lse = nullptr;
    cpu::backend().run(p, CancelFlag{false});
    checkAnswer(c, set);
    p.lse = lse;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
  const int32_t lengths[] = {0, 1, 2, 7, 16, 31, 33, 64, 65, 100, 193, 400}, dims[] = {1, 3, 8, 16, 40, 64, 80, 128};
  for (int seed = 0; seed < rounds; ++seed) {
    CaseMaker maker{uint32_t(seed)};
    const int32_t queries = lengths[maker.pick(12)], keys = lengths[maker.pick(12)];
    const int32_t headDim = dims[maker.pick(8)], valueDim = dims[maker.pick(8)];
    const auto c = maker.make(queries, keys, headDim, valueDim);
    if (seed % 4 == 3) maker.spoilValues(*c);
    c->name = "seed " + std::to_string(seed) + ": " + c->name;
    check(*c);
  }
  // Long enough for the wider panels that some instruction sets have.
  for (int seed = 0; seed < (rounds + 39) / 40; ++seed) {
    CaseMaker maker{uint32_t(10000 + seed)};
    const auto c = maker.make(1540 + maker.pick(100), 1 + maker.pick(300), 16, 24);
    c->name = "long, seed " + std::to_string(seed) + ": " + c->name;
    check(*c);
  }
  return finish("loops");
}
