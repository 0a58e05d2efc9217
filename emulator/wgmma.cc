// wgmma: a product of a warpgroup runs once all four warps have issued it, and is finished by the wait that says so.
#include "wgmma.h"

#include <algorithm>
#include <cstring>

#include "block.h"
#include "descriptor.h"
#include "errors.h"
#include "fragments.h"
#include "rendezvous.h"
#include "scheduler.h"
#include "shared_memory.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kAllWarps = 15;
constexpr uint32_t kWarpgroupRows = 64;

WarpgroupProducts& warpgroupOf(uint32_t warp) { return block().warpgroups.at(warp / kWarpsPerGroup); }
Warp* warpsOf(uint32_t warp) { return &block().warps[warp / kWarpsPerGroup * kWarpsPerGroup]; }

// ---- execution

// Element (mn, k) goes to out[mn * mnStep + k * kStep].
template <Element E>
void loadOperand(float* out, const Operand& operand, bool isMnMajor, uint32_t extent, uint32_t mnStep, uint32_t kStep) {
  operand.forEachChunk(extent, [&](uint32_t address, uint32_t mn, uint32_t k) {
    uint16_t values[8];
    std::memcpy(values, sharedBytes(address, sizeof values, "wgmma"), sizeof values);
    const uint32_t step = isMnMajor ? mnStep : kStep;
    for (uint32_t i = 0; i < 8; ++i) out[mn * mnStep + k * kStep + i * step] = widen<E>(values[i]);
  });
}

template <Element E>
void execute(WarpgroupInstruction& instruction) {
  const WarpgroupProduct& product = instruction.product;
  const auto n = uint32_t(product.n);
  float a[kWarpgroupRows * kDepth], b[kDepth * 256];
  if (product.aRegisters == nullptr) {
    loadOperand<E>(a, Operand(product.a, product.transposeA), product.transposeA, kWarpgroupRows, kDepth, 1);
  } else {
    for (uint32_t w = 0; w < kWarpsPerGroup; ++w) {
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        unpackA<E>(a + w * kFragmentRows * kDepth, lane, instruction.aValues[w][lane]);
      }
    }
  }
  loadOperand<E>(b, Operand(product.b, product.transposeB), product.transposeB, n, 1, n);
  for (uint32_t w = 0; w < kWarpsPerGroup; ++w) {
    std::vector<float>& c = instruction.accumulators[w]->values;
    if (!product.keep) std::fill(c.begin(), c.end(), 0.f);
    accumulate(c.data(), a + w * kFragmentRows * kDepth, b, n, kDepth);
  }
  instruction.isExecuted = true;
  ++block().stats.warpgroupProducts;
}

void executeUpTo(WarpgroupProducts& group, size_t end) {
  for (size_t i = group.first; i < end; ++i) {
    WarpgroupInstruction& instruction = group.at(i);
    if (instruction.isExecuted) continue;
    if (instruction.product.element == Element::bf16) {
      execute<Element::bf16>(instruction);
    } else {
      execute<Element::f16>(instruction);
    }
  }
}

// ---- issue

// The first warp to come defines the instruction, the others must issue the same.
WarpgroupInstruction& instructionOf(WarpgroupProducts& group, size_t index, const WarpgroupProduct& product) {
  if (index - group.first == group.instructions.size()) {
    group.instructions.push_back(std::make_unique<WarpgroupInstruction>());
    group.instructions.back()->product = product;
  }
  return group.at(index);
}

void checkAgreement(const WarpgroupProduct& expected, Lanes<const WarpgroupProduct> lanes) {
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const WarpgroupProduct& product = lanes[lane];
    const bool agrees = product.n == expected.n && product.element == expected.element && product.a == expected.a &&
                        product.b == expected.b && product.keep == expected.keep &&
                        product.transposeA == expected.transposeA && product.transposeB == expected.transposeB &&
                        (product.aRegisters == nullptr) == (expected.aRegisters == nullptr);
    if (!agrees) fail("wgmma: threads of the warpgroup disagree on the instruction or its descriptors");
  }
}

Accumulator& accumulatorOf(WarpProducts& products, Lanes<const WarpgroupProduct> lanes) {
  const int n = lanes[0].n;
  for (auto& known : products.accumulators) {
    if (known->lanes[0] != lanes[0].d) continue;
    if (known->n != n) fail("wgmma: the accumulator is in flight with another shape");
    return *known;
  }
  if (!products.isFenced) fail("wgmma: no wgmma_fence since its registers were last free");
  products.accumulators.push_back(std::make_unique<Accumulator>());
  Accumulator& accumulator = *products.accumulators.back();
  accumulator.n = n;
  accumulator.values.resize(size_t(16) * size_t(n));
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    accumulator.lanes[lane] = lanes[lane].d;
    for (uint32_t r = 0; r < uint32_t(n) / 2; ++r) {
      accumulator.values[accumulatorRow(lane, r) * uint32_t(n) + accumulatorColumn(lane, r)] = lanes[lane].d[r];
    }
  }
  return accumulator;
}

void checkRaces(const WarpgroupInstruction& instruction, uint32_t warpgroup, size_t clock, const void* where) {
  RaceChecker& races = block().races;
  const WarpgroupProduct& product = instruction.product;
  const Agent agent{races.wgmmaAgent(warpgroup), uint32_t(clock), &instruction.view, true, "wgmma", where};
  const auto read = [&](uint32_t address, uint32_t, uint32_t) {
    sharedBytes(address, 16, "wgmma");
    races.read(address, 16, agent);
  };
  if (product.aRegisters == nullptr) Operand(product.a, product.transposeA).forEachChunk(kWarpgroupRows, read);
  Operand(product.b, product.transposeB).forEachChunk(uint32_t(product.n), read);
}

void issue(uint32_t warpIndex, Lanes<const WarpgroupProduct> lanes, const void* where) {
  Block& running = block();
  const uint32_t quarter = warpIndex % kWarpsPerGroup;
  WarpProducts& products = running.warps[warpIndex].products;
  WarpgroupProducts& group = warpgroupOf(warpIndex);
  WarpgroupInstruction& instruction = instructionOf(group, products.issued, lanes[0]);
  checkAgreement(instruction.product, lanes);
  Accumulator& accumulator = accumulatorOf(products, lanes);
  accumulator.lastProduct = products.issued;
  instruction.accumulators[quarter] = &accumulator;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const WarpgroupProduct& product = lanes[lane];
    std::memset(product.d, kPoison, size_t(product.n) / 2 * sizeof(float));
    if (product.aRegisters != nullptr) {
      instruction.aRegisters[quarter][lane] = product.aRegisters;
      std::memcpy(instruction.aValues[quarter][lane], product.aRegisters, 16);
    }
    if (!running.races.isEnabled()) continue;
    if (instruction.issued == 0 && lane == 0) {
      instruction.view = lanes.thread(lane).view;
    } else {
      instruction.view.meet(lanes.thread(lane).view);
    }
  }
  ++products.issued;
  instruction.issued |= 1u << quarter;
  if (instruction.issued != kAllWarps) return;
  if (running.races.isEnabled()) checkRaces(instruction, warpIndex / kWarpsPerGroup, products.issued, where);
  const Async when = running.options.async;
  if (when == Async::eager || (when == Async::random && running.chance(2))) executeUpTo(group, products.issued);
  for (const Thread* thread : group.waiting) makeReady(*thread);
  group.waiting.clear();
}

// ---- wait

struct Wait {
  float* const* accumulators;
  int count;
};

bool isNamed(const Accumulator& accumulator, const Wait& wait) {
  const auto* end = wait.accumulators + wait.count;
  return std::find(wait.accumulators, end, accumulator.lanes[0]) != end;
}

void checkOperandRegisters(WarpgroupProducts& group, size_t begin, size_t end, uint32_t quarter) {
  for (size_t i = std::max(group.first, begin); i < end; ++i) {
    const WarpgroupInstruction& instruction = group.at(i);
    if (instruction.product.aRegisters == nullptr) continue;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      if (std::memcmp(instruction.aRegisters[quarter][lane], instruction.aValues[quarter][lane], 16) != 0) {
        fail("wgmma: registers of a changed while it was in flight");
      }
    }
  }
}

void putBack(const Accumulator& accumulator) {
  const auto n = uint32_t(accumulator.n);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    for (uint32_t r = 0; r < n / 2; ++r) {
      accumulator.lanes[lane][r] = accumulator.values[accumulatorRow(lane, r) * n + accumulatorColumn(lane, r)];
    }
  }
}

void finish(uint32_t warpIndex, Lanes<Wait> lanes) {
  WarpProducts& products = block().warps[warpIndex].products;
  WarpgroupProducts& group = warpgroupOf(warpIndex);
  const size_t target = products.target;
  executeUpTo(group, target);
  checkOperandRegisters(group, products.waited, target, warpIndex % kWarpsPerGroup);
  products.waited = std::max(products.waited, target);
  auto& accumulators = products.accumulators;
  for (auto& accumulator : accumulators) {
    if (accumulator->lastProduct >= target) continue;
    if (!isNamed(*accumulator, lanes[0])) fail("wgmma_wait finishes an accumulator that it does not name");
    putBack(*accumulator);
  }
  accumulators.erase(std::remove_if(accumulators.begin(), accumulators.end(),
                                    [&](const auto& accumulator) { return accumulator->lastProduct < target; }),
                     accumulators.end());
  if (block().races.isEnabled()) {
    const uint32_t agent = block().races.wgmmaAgent(warpIndex / kWarpsPerGroup);
    for (uint32_t lane = 0; lane < kLanes; ++lane) lanes.thread(lane).view.complete(agent, uint32_t(target));
  }
  // What all four warps have waited for is forgotten.
  size_t waitedByAll = target;
  for (uint32_t w = 0; w < kWarpsPerGroup; ++w) {
    waitedByAll = std::min(waitedByAll, warpsOf(warpIndex)[w].products.waited);
  }
  for (; group.first < waitedByAll; ++group.first) group.instructions.pop_front();
}

bool isIssuedByAll(uint32_t warpIndex, size_t target) {
  for (uint32_t w = 0; w < kWarpsPerGroup; ++w) {
    if (warpsOf(warpIndex)[w].products.issued < target) return false;
  }
  return true;
}

}  // namespace

TW_OPERATION void warpgroupMultiply(const WarpgroupProduct& product) {
  const void* where = TW_WHERE;
  const char* operation = product.element == Element::bf16 ? "wgmma.bf16" : "wgmma.f16";
  rendezvous(operation, where, product,
             [&](Warp&, Lanes<const WarpgroupProduct> lanes) { issue(self().warp, lanes, where); });
}

TW_OPERATION void warpgroupFence() {
  NoArguments none;
  rendezvous("wgmma.fence", TW_WHERE, none, [](Warp& warp, Lanes<NoArguments>) { warp.products.isFenced = true; });
}

TW_OPERATION void warpgroupCommit() {
  NoArguments none;
  rendezvous("wgmma.commit_group", TW_WHERE, none,
             [](Warp& warp, Lanes<NoArguments>) { warp.products.groups.push_back(warp.products.issued); });
}

TW_OPERATION void warpgroupWait(int pending, float* const* accumulators, int count) {
  const void* where = TW_WHERE;
  Wait wait{accumulators, count};
  rendezvous("wgmma.wait_group", where, wait, [&](Warp& warp, Lanes<Wait>) {
    WarpProducts& products = warp.products;
    products.isFenced = false;
    const size_t groups = products.groups.size();
    if (groups > size_t(pending)) products.target = products.groups[groups - 1 - size_t(pending)];
  });
  const uint32_t warpIndex = self().warp;
  while (!isIssuedByAll(warpIndex, block().warps[warpIndex].products.target)) {
    self().operation = "wgmma.wait_group, for the other warps to issue,";
    warpgroupOf(warpIndex).waiting.push_back(&self());
    suspend();
  }
  rendezvous("wgmma.wait_group", where, wait, [&](Warp&, Lanes<Wait> lanes) { finish(warpIndex, lanes); });
}

namespace {

void setWarpgroup(int registers) {
  Block& running = block();
  if (registers < 24 || registers > 256 || registers % 8 != 0) {
    fail("setmaxnreg: " + std::to_string(registers) + " registers");
  }
  warpgroupOf(self().warp).registers = registers;
  int sum = 0;
  for (const WarpgroupProducts& group : running.warpgroups) {
    if (group.registers == 0) return;  // it has not said yet
    sum += group.registers;
  }
  // The pool is what the launch allocated: the limit that its number of threads implies, for each warpgroup.
  const int perThread = std::min(248, 65536 / int(running.threads) / 8 * 8);
  const int pool = perThread * int(running.warpgroups.size());
  if (sum > pool) {
    fail("setmaxnreg: the warpgroups want " + std::to_string(sum) + " registers of " + std::to_string(pool) +
         ", per thread and summed");
  }
}

}  // namespace

TW_OPERATION void setMaxRegisters(int registers) {
  NoArguments none;
  rendezvous("setmaxnreg", TW_WHERE, none, [&](Warp&, Lanes<NoArguments>) { setWarpgroup(registers); });
}

}  // namespace tilewise::emulator
