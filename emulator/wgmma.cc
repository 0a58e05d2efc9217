// wgmma: accumulators leave their places when a product is issued, and come back by the wait that names them. When
// products run: warpgroup_products.h.
#include "wgmma.h"

#include <algorithm>
#include <cstring>

#include "block.h"
#include "errors.h"
#include "rendezvous.h"
#include "scheduler.h"

namespace tilewise::emulator {
namespace {

Warpgroup& warpgroupOf(uint32_t warp) { return block().warpgroups.at(warp / kWarpsPerGroup); }
RegistersInFlight& inFlight(uint32_t warp) { return block().warps[warp].inFlight; }

// ---- issue

struct LanePart {
  const WarpgroupProduct& product;
  const uint32_t* a;
  float* d;
};

void checkAgreement(Lanes<const LanePart> lanes) {
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    if (!(lanes[lane].product == lanes[0].product)) {
      block().fail("lanes of one warp disagree on the product or its descriptors");
    }
  }
}

AccumulatorRegisters& accumulatorOf(uint32_t warp, Lanes<const LanePart> lanes) {
  const uint32_t n = lanes[0].product.n;
  auto& accumulators = inFlight(warp).accumulators;
  for (auto& known : accumulators) {
    if (known->lanes[0] != lanes[0].d) continue;
    if (known->sums.n != n) block().fail("the accumulator is in flight with another shape");
    return *known;
  }
  if (!warpgroupOf(warp).products.isFenced(warp % kWarpsPerGroup)) {
    block().fail("no wgmma_fence since its registers were last free");
  }
  accumulators.push_back(std::make_unique<AccumulatorRegisters>(AccumulatorRegisters{{}, Accumulator(n), 0}));
  AccumulatorRegisters& taken = *accumulators.back();
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    taken.lanes[lane] = lanes[lane].d;
    for (uint32_t r = 0; r < n / 2; ++r) taken.sums.of(lane, r) = lanes[lane].d[r];
    std::memset(lanes[lane].d, kPoison, n / 2 * sizeof(float));
  }
  return taken;
}

void issue(uint32_t warp, Lanes<const LanePart> lanes, const void* where) {
  checkAgreement(lanes);
  Warpgroup& group = warpgroupOf(warp);
  const size_t number = group.products.issued(warp % kWarpsPerGroup);
  AccumulatorRegisters& accumulator = accumulatorOf(warp, lanes);
  accumulator.lastProduct = number;
  WarpPart part{lanes[0].product, &accumulator.sums, nullptr, {}, where};
  if (lanes[0].a != nullptr) {
    auto& operands = inFlight(warp).operands;
    operands.push_back({number, {}, {}});
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      operands.back().lanes[lane] = lanes[lane].a;
      std::memcpy(operands.back().values[lane], lanes[lane].a, sizeof operands.back().values[lane]);
    }
    part.a = operands.back().values;
  }
  if (block().races.isEnabled()) {
    for (uint32_t lane = 0; lane < kLanes; ++lane) part.views.push_back(&lanes.thread(lane).view);
  }
  if (!group.products.issue(warp % kWarpsPerGroup, part)) return;
  ++block().stats.warpgroupProducts;
  for (const Thread* thread : group.waiting) makeReady(*thread);
  group.waiting.clear();
}

// ---- wait

struct Wait {
  float* const* accumulators;
  int count;
};

bool isNamed(const AccumulatorRegisters& accumulator, const Wait& wait) {
  const auto* end = wait.accumulators + wait.count;
  return std::find(wait.accumulators, end, accumulator.lanes[0]) != end;
}

void releaseOperands(std::deque<OperandRegisters>& operands, size_t finished) {
  for (; !operands.empty() && operands.front().product < finished; operands.pop_front()) {
    const OperandRegisters& operand = operands.front();
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      if (std::memcmp(operand.lanes[lane], operand.values[lane], sizeof operand.values[lane]) != 0) {
        block().fail("registers of a changed while it was in flight");
      }
    }
  }
}

void putBack(AccumulatorRegisters& accumulator) {
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    for (uint32_t r = 0; r < accumulator.sums.n / 2; ++r) accumulator.lanes[lane][r] = accumulator.sums.of(lane, r);
  }
}

void finish(uint32_t warp, Lanes<Wait> lanes) {
  RegistersInFlight& registers = inFlight(warp);
  const size_t finished = warpgroupOf(warp).products.endWait(warp % kWarpsPerGroup);
  releaseOperands(registers.operands, finished);
  auto& accumulators = registers.accumulators;
  for (auto& accumulator : accumulators) {
    if (accumulator->lastProduct >= finished) continue;
    if (!isNamed(*accumulator, lanes[0])) fail("wgmma_wait finishes an accumulator that it does not name");
    putBack(*accumulator);
  }
  accumulators.erase(std::remove_if(accumulators.begin(), accumulators.end(),
                                    [&](const auto& accumulator) { return accumulator->lastProduct < finished; }),
                     accumulators.end());
  if (!block().races.isEnabled()) return;
  const uint32_t agent = block().races.wgmmaAgent(warp / kWarpsPerGroup);
  for (uint32_t lane = 0; lane < kLanes; ++lane) lanes.thread(lane).view.complete(agent, uint32_t(finished));
}

}  // namespace

TW_OPERATION void warpgroupMultiply(const WarpgroupProduct& product, const uint32_t* a, float* d) {
  const void* where = TW_WHERE;
  const char* operation = product.element == Element::bf16 ? "wgmma.bf16" : "wgmma.f16";
  const LanePart part{product, a, d};
  rendezvous(operation, where, part, [&](Warp&, Lanes<const LanePart> lanes) { issue(self().warp, lanes, where); });
}

TW_OPERATION void warpgroupFence() {
  NoArguments none;
  const uint32_t warp = self().warp;
  rendezvous("wgmma.fence", TW_WHERE, none,
             [=](Warp&, Lanes<NoArguments>) { warpgroupOf(warp).products.fence(warp % kWarpsPerGroup); });
}

TW_OPERATION void warpgroupCommit() {
  NoArguments none;
  const uint32_t warp = self().warp;
  rendezvous("wgmma.commit_group", TW_WHERE, none,
             [=](Warp&, Lanes<NoArguments>) { warpgroupOf(warp).products.commit(warp % kWarpsPerGroup); });
}

TW_OPERATION void warpgroupWait(int pending, float* const* accumulators, int count) {
  const void* where = TW_WHERE;
  Wait wait{accumulators, count};
  const uint32_t warp = self().warp, quarter = warp % kWarpsPerGroup;
  rendezvous("wgmma.wait_group", where, wait,
             [&](Warp&, Lanes<Wait>) { warpgroupOf(warp).products.beginWait(quarter, uint32_t(pending)); });
  while (!warpgroupOf(warp).products.canEndWait(quarter)) {
    self().operation = "wgmma.wait_group, for the other warps to issue,";
    warpgroupOf(warp).waiting.push_back(&self());
    suspend();
  }
  rendezvous("wgmma.wait_group", where, wait, [&](Warp&, Lanes<Wait> lanes) { finish(warp, lanes); });
}

TW_OPERATION void setMaxRegisters(uint32_t registers, bool isMore) {
  NoArguments none;
  rendezvous("setmaxnreg", TW_WHERE, none, [&](Warp&, Lanes<NoArguments>) {
    const std::string fault = block().registers.set(self().warp, registers, isMore);
    if (!fault.empty()) fail("setmaxnreg: " + fault);
  });
}

}  // namespace tilewise::emulator
