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
  if (p.cuSeqlensQ || p.queries == 0) return;  // explain() is not asked about packed sequences
  p.lse = nullptr;  // with it rows that a gate closes are computed
  const TileRule rule = cpu::backend().tiles(p).rule;
  for (int32_t s = 0; s < p.sequences; ++s) {
    const cpu::Tiling tiling = cpu::tilingOf(p, p.sequence(s), cpu::activeKernels(), 1);
    if (tiling.isDecode || (!tiling.isGrid && tiling.kernels->panel != rule.queries[0])) return;
  }
  const int64_t withRules = explain(p, rule).sum.computed, ruled = countsOf(p).computed;
  CHECK(ruled <= withRules, "%s: %s: %lld planned, %lld computed with score rules", instructionSet.c_str(),
        c.name.c_str(), static_cast<long long>(withRules), static_cast<long long>(ruled));
  p.rules = {};
  const Plan plan = explain(p, rule);
  const cpu::VisitCounts counts = countsOf(p);
  // Runs of ranges are those of a tile's queries, which the plan has for panels: a panel may see a little less than
  // that.
  const bool isExact = p.pattern != PatternKind::ranges;
  const bool isAsPlanned = isExact ? plan.sum.computed == counts.computed : plan.sum.computed >= counts.computed;
  CHECK(isAsPlanned, "%s: %s: %lld planned, %lld computed", instructionSet.c_str(), c.name.c_str(),
        static_cast<long long>(plan.sum.computed), static_cast<long long>(counts.computed));
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

constexpr Token kTokens = 1000;

// A problem of which every query sees every key.
std::unique_ptr<Case> openCase() {
  auto c = CaseMaker{1}.make(kTokens, kTokens, 8, 8);
  AttentionProblem& p = c->problem;
  p.pattern = PatternKind::window;
  p.window = {};
  p.keyLengths = p.keyStarts = nullptr;
  p.extraTokens = 0;
  p.rules = {};
  p.gate = {};
  p.lse = nullptr;
  return c;
}

// Calls visit(name of the instruction set, the share of all pairs that it computes); the plan says as many.
template <class Visit>
void forEachShare(const AttentionProblem& p, Visit&& visit) {
  for (const std::string& set : cpu::backend().instructionSets()) {
    cpu::backend().setInstructionSet(set);
    const int64_t planned = explain(p, cpu::backend().tiles(p).rule).sum.computed, counted = countsOf(p).computed;
    CHECK(planned == counted, "%s: %lld planned, %lld computed", set.c_str(), static_cast<long long>(planned),
          static_cast<long long>(counted));
    visit(set.c_str(), double(counted) / double(int64_t(p.batch) * p.outputHeads() * kTokens * kTokens));
  }
}

// What a mask hides from all is not computed: of a causal one about half is left, and the same of one for each head.
void checkCausalMask() {
  const auto c = openCase();
  AttentionProblem& p = c->problem;
  const size_t heads = size_t(p.outputHeads());
  std::vector<uint8_t> seen(heads * kTokens * kTokens);
  for (Token q = 0; q < Token(heads) * kTokens; ++q)
    std::fill_n(seen.begin() + int64_t(q) * kTokens, q % kTokens + 1, uint8_t(1));
  p.rules.mask.data = seen.data();
  p.rules.mask.query = kTokens;
  p.rules.mask.key = 1;
  for (const int64_t head : {int64_t(0), int64_t(kTokens) * kTokens}) {
    p.rules.mask.head = head;
    forEachShare(p, [](const char* set, double share) {
      CHECK(0.5 < share && share < 0.56, "%s: %.3f of all pairs computed", set, share);
    });
  }
}

// Keys that a key mask hides are left out, up to 31 more on each side are not; those before a start all are.
void checkPadding() {
  const auto c = openCase();
  AttentionProblem& p = c->problem;
  p.batch = p.sequences = 1;
  std::vector<uint8_t> seen(kTokens);
  std::fill_n(seen.begin() + 400, 200, uint8_t(1));
  p.rules.keyMask.data = seen.data();
  p.rules.keyMask.key = 1;
  forEachShare(p, [](const char* set, double share) {
    CHECK(share == 0.224, "%s: %.3f of all pairs computed, keys 384 to 607 expected", set, share);
  });
  p.rules = {};
  const int32_t start = 399, length = 600;
  p.keyStarts = &start;
  p.keyLengths = &length;
  forEachShare(p, [](const char* set, double share) {
    CHECK(share == 0.201, "%s: %.3f of all pairs computed, keys 399 to 599 expected", set, share);
  });
}

// Rows that a gate closes in runs of 256 are left out, but for panels that have open rows, too.
void checkGate() {
  const auto c = openCase();
  AttentionProblem& p = c->problem;
  std::vector<float> gate(kTokens);
  for (Token q = 0; q < kTokens; ++q) gate[size_t(q)] = q / 256 % 2 == 0 ? 0.0f : 1.0f;
  p.gate.data = gate.data();
  p.gate.token = 1;
  forEachShare(p, [](const char* set, double share) {
    CHECK(0.488 <= share && share < 0.54, "%s: %.3f of all pairs computed, 0.488 are open", set, share);
  });
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
  checkPadding();
  checkGate();
  CHECK(planned > 0 && countedUnmasked > plannedUnmasked / 2, "%lld of %lld planned pairs ran without a mask",
        static_cast<long long>(countedUnmasked), static_cast<long long>(plannedUnmasked));
  return finish("plans");
}
