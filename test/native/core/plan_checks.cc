// The plan against the loop: explain() counts as many pairs as the loop of every instruction set computes.
// Reader: someone who asks whether explain() can be believed. The loop counts itself (TILEWISE_COUNT_VISITS).
#include "../../../core/plan/plan.h"

#include <vector>

#include "../../../cpu/backend.h"
#include "../../../cpu/runtime/dispatch.h"
#include "../../../cpu/attention/tiling.h"
#include "../check.h"
#include "../problems.h"

using namespace tilewise;

namespace {

int64_t planned = 0, plannedUnmasked = 0, countedUnmasked = 0;

cpu::VisitCounts countsOf(const AttentionProblem& p) {
  cpu::takeVisitCounts();
  cpu::backend().run(p, CancelFlag{false});
  return cpu::takeVisitCounts();
}

void checkCounts(const Case& c, const std::string& instructionSet) {
  AttentionProblem p = c.problem;
  if (p.keyLengths || p.keyStarts || p.cuSeqlensQ || p.queries == 0)
    return;  // explain() is asked about sequences of one length
  const cpu::Tiling tiling = cpu::tilingOf(p, p.sequence(0), cpu::activeKernels(), 1);
  if (tiling.isDecode) return;
  const Plan plan = explain(p, cpu::backend().tiles(p).rule);
  const int64_t ruled = countsOf(p).computed;
  CHECK(ruled <= plan.sum.computed, "%s: %s: %lld planned, %lld computed with score rules", instructionSet.c_str(),
        c.name.c_str(), static_cast<long long>(plan.sum.computed), static_cast<long long>(ruled));
  p.rules = {};  // a plan does not know what they hide
  const cpu::VisitCounts counts = countsOf(p);
  CHECK(plan.sum.computed == counts.computed, "%s: %s: %lld planned, %lld computed", instructionSet.c_str(),
        c.name.c_str(), static_cast<long long>(plan.sum.computed), static_cast<long long>(counts.computed));
  // The loop masks short interiors all the same (kLeastInterior), so it may mask more than it has to; never less.
  CHECK(plan.sum.unmasked >= counts.unmasked, "%s: %s: %lld planned, %lld without a mask", instructionSet.c_str(),
        c.name.c_str(), static_cast<long long>(plan.sum.unmasked), static_cast<long long>(counts.unmasked));
  planned += plan.sum.computed;
  plannedUnmasked += plan.sum.unmasked;
  countedUnmasked += counts.unmasked;
}

void checkAll(CaseMaker& maker, int seed, int32_t queries, int32_t keys) {
  const auto c = maker.make(queries, keys, 8, 8);
  c->name = "seed " + std::to_string(seed) + ": " + c->name;
  for (const std::string& set : cpu::backend().instructionSets()) {
    cpu::backend().setInstructionSet(set);
    checkCounts(*c, set);
  }
}

// What a mask hides from all is not computed: of a causal one about half is left.
void checkCausalMask() {
  constexpr Token kTokens = 1000;
  CaseMaker maker{1};
  const auto c = maker.make(kTokens, kTokens, 8, 8);
  AttentionProblem& p = c->problem;
  p.pattern = PatternKind::window;
  p.window = {};
  p.keyLengths = p.keyStarts = nullptr;
  p.extraTokens = 0;
  std::vector<uint8_t> seen(size_t(kTokens) * kTokens);
  for (Token q = 0; q < kTokens; ++q) std::fill_n(seen.begin() + q * kTokens, q + 1, uint8_t(1));
  p.rules = {};
  p.rules.mask.data = seen.data();
  p.rules.mask.query = kTokens;
  p.rules.mask.key = 1;
  for (const std::string& set : cpu::backend().instructionSets()) {
    cpu::backend().setInstructionSet(set);
    const double share = double(countsOf(p).computed) / double(int64_t(p.batch) * p.outputHeads() * kTokens * kTokens);
    CHECK(0.5 < share && share < 0.56, "%s: %.3f of all pairs computed", set.c_str(), share);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
  const int32_t lengths[] = {0, 1, 7, 16, 33, 64, 100, 193, 400};
  for (int seed = 0; seed < rounds; ++seed) {
    CaseMaker maker{uint32_t(seed)};
    const int32_t queries = lengths[maker.pick(9)], keys = lengths[maker.pick(9)];
    checkAll(maker, seed, queries, keys);
  }
  // Long enough for the wider panels that some instruction sets have.
  for (int seed = 10000; seed < 10000 + (rounds + 39) / 40; ++seed) {
    CaseMaker maker{uint32_t(seed)};
    checkAll(maker, seed, 1540 + maker.pick(100), 1 + maker.pick(300));
  }
  checkCausalMask();
  CHECK(planned > 0 && countedUnmasked > plannedUnmasked / 2, "%lld of %lld planned pairs ran without a mask",
        static_cast<long long>(countedUnmasked), static_cast<long long>(plannedUnmasked));
  return finish("plans");
}
