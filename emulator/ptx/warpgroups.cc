// What four warps do together: wgmma, whose products ../warpgroup_products.h runs, and setmaxnreg.
#include "warpgroups.h"

#include <string>

#include "handlers.h"

namespace tilewise::ptx {

using emulator::Element;
using emulator::kWarpsPerGroup;

InFlight& BusyRegisters::add(InFlight added) {
  inFlight_.push_back(std::make_unique<InFlight>(std::move(added)));
  InFlight& kept = *inFlight_.back();
  for (uint32_t i = 0; i < kept.count; ++i) users_[kept.slots[i] / kUnit] = &kept;
  return kept;
}

namespace {

[[noreturn]] void failBusy(const Warp& warp, const InFlight& user) {
  fail(warp, std::string("touches a register of ") + (user.sums ? "the accumulator" : "operand a") + " of " +
                 user.instruction->opcode->name + " @" + placeOf(warp.block->kernel, *user.instruction) +
                 ", which no wait has finished");
}

uint32_t quarterOf(const Warp& warp) { return warp.index % kWarpsPerGroup; }

Warpgroup& warpgroupOf(Warp& warp) {
  Block& block = *warp.block;
  requireAllLanes(warp);
  const uint32_t index = warp.index / kWarpsPerGroup;
  if ((index + 1) * kWarpsPerGroup > block.warps.size()) fail(warp, "its warpgroup has fewer than four warps");
  block.checkedWarp = &warp;
  block.checkedLane = kLanes;
  return block.warpgroups.try_emplace(index, Warpgroup{emulator::WarpgroupProducts(block, index), {}}).first->second;
}

void endWait(Warp& warp, Warpgroup& group) {
  const size_t finished = group.products.endWait(quarterOf(warp));
  if (warp.busy) {
    warp.busy->release(finished, [&](emulator::Accumulator& sums, const uint32_t* slots) {
      for (uint32_t r = 0; r < sums.n / 2; ++r) {
        auto* result = reinterpret_cast<float*>(warp.registers + slots[r]);
        for (uint32_t lane = 0; lane < kLanes; ++lane) result[lane] = sums.of(lane, r);
      }
    });
  }
  warp.isWaiting = false;
  Block& block = *warp.block;
  if (!block.races.isEnabled()) return;
  const uint32_t agent = block.races.wgmmaAgent(warp.index / kWarpsPerGroup);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    block.threads[block.threadOf(warp, lane)].view.complete(agent, uint32_t(finished));
  }
}

void endWaits(Warpgroup& group) {
  std::vector<Warp*> waiting;
  waiting.swap(group.waiting);
  for (Warp* warp : waiting) {
    if (group.products.canEndWait(quarterOf(*warp))) {
      endWait(*warp, group);
    } else {
      group.waiting.push_back(warp);
    }
  }
}

// Results are the accumulator; sources: a, of one register or four, b, whether the accumulator is kept.
struct Places {
  uint32_t n;
  bool isAInRegisters;
  uint32_t a() const { return n / 2; }
  uint32_t b() const { return a() + (isAInRegisters ? 4 : 1); }
  uint32_t keep() const { return b() + 1; }
};

uint64_t uniform(const Warp& warp, const Instruction& in, uint32_t i) {
  const uint64_t* values = lanes<uint64_t>(warp, in, i);
  for (uint32_t lane = 1; lane < kLanes; ++lane) {
    if (values[lane] != values[0]) fail(warp, lane, "lanes of one warp disagree on a descriptor");
  }
  return values[0];
}

emulator::WarpgroupProduct productOf(const Warp& warp, const Instruction& in, const Places& places, Element element) {
  const uint32_t keep = predicate(warp, in, places.keep());
  if (keep != 0 && keep != kAllLanes) fail(warp, "lanes of one warp disagree on whether the accumulator is kept");
  if ((in.immediates[0] | in.immediates[1]) & ~1) fail(warp, "a transposition that is neither 0 nor 1");
  const bool isShared = !places.isAInRegisters;
  return {places.n,
          element,
          isShared && in.immediates[0] == 1,
          in.immediates[isShared ? 1 : 0] == 1,
          places.isAInRegisters,
          keep != 0,
          isShared ? uniform(warp, in, places.a()) : 0,
          uniform(warp, in, places.b())};
}

// That is in flight on the same registers, or a new one.
InFlight& accumulatorOf(Warp& warp, const Instruction& in, const Places& places, bool isFenced) {
  const uint32_t count = places.n / 2;
  InFlight* known = warp.busy->userOf(in.slots[0]);
  for (uint32_t r = 0; r < count; ++r) {
    const InFlight* user = warp.busy->userOf(in.slots[r]);
    const bool isSame = user == nullptr || (user->sums && user->count == count && user->slots[r] == in.slots[r]);
    if (user != known || !isSame) failBusy(warp, user != nullptr ? *user : *known);
  }
  if (known != nullptr) return *known;
  if (!isFenced) fail(warp, "no wgmma.fence since its registers were last free");
  InFlight& added = warp.busy->add({&in, in.slots, count, 0, std::make_unique<emulator::Accumulator>(places.n)});
  for (uint32_t r = 0; r < count; ++r) {
    const float* from = lanes<float>(warp, in, r);
    for (uint32_t lane = 0; lane < kLanes; ++lane) added.sums->of(lane, r) = from[lane];
  }
  return added;
}

// Several products may read the same registers.
void takeOperand(Warp& warp, const Instruction& in, uint32_t first, size_t product, uint32_t (&values)[kLanes][4]) {
  for (uint32_t r = 0; r < 4; ++r) {
    const InFlight* user = warp.busy->userOf(in.slots[first + r]);
    if (user != nullptr && user->sums) failBusy(warp, *user);
    for (uint32_t lane = 0; lane < kLanes; ++lane) values[lane][r] = lanes<uint32_t>(warp, in, first + r)[lane];
  }
  warp.busy->add({&in, in.slots + first, 4, product, nullptr});
}

template <Element E, uint32_t n, bool isAInRegisters>
void multiply(Warp& warp, const Instruction& in) {
  constexpr Places places{n, isAInRegisters};
  Block& block = *warp.block;
  Warpgroup& group = warpgroupOf(warp);
  const uint32_t quarter = quarterOf(warp);
  const size_t number = group.products.issued(quarter);
  InFlight& accumulator = accumulatorOf(warp, in, places, group.products.isFenced(quarter));
  accumulator.product = number;
  uint32_t a[kLanes][4];
  if (isAInRegisters) takeOperand(warp, in, places.a(), number, a);
  emulator::WarpPart part{
      productOf(warp, in, places, E), accumulator.sums.get(), isAInRegisters ? a : nullptr, {}, &in};
  if (block.races.isEnabled()) {
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      part.views.push_back(&block.threads[block.threadOf(warp, lane)].view);
    }
  }
  if (group.products.issue(quarter, part)) endWaits(group);
}

void fence(Warp& warp, const Instruction&) { warpgroupOf(warp).products.fence(quarterOf(warp)); }
void commit(Warp& warp, const Instruction&) { warpgroupOf(warp).products.commit(quarterOf(warp)); }

void wait(Warp& warp, const Instruction& in) {
  Warpgroup& group = warpgroupOf(warp);
  group.products.beginWait(quarterOf(warp), uint32_t(in.immediates[0]));
  warp.isWaiting = true;
  group.waiting.push_back(&warp);
  endWaits(group);
}

template <bool isMore>
void setRegisters(Warp& warp, const Instruction& in) {
  requireAllLanes(warp);
  const std::string fault = warp.block->registers.set(warp.index, uint32_t(in.immediates[0]), isMore);
  if (!fault.empty()) fail(warp, fault);
}

// Rows keep their names as pointers.
struct ProductRow {
  std::string opcode, operands;
  Run run;
};

template <Element E, uint32_t n>
void addProducts(std::vector<ProductRow>& rows) {
  const std::string type = E == Element::bf16 ? "bf16" : "f16";
  const std::string opcode = "wgmma.mma_async.sync.aligned.m64n" + std::to_string(n) + "k16.f32." + type + "." + type;
  const std::string sums = "{w*" + std::to_string(n / 2) + "} = ";
  rows.push_back({opcode, sums + "l, l, p, 1, 1, i, i", multiply<E, n, false>});
  rows.push_back({opcode, sums + "{wwww}, l, p, 1, 1, i", multiply<E, n, true>});
}

template <uint32_t... ns>
std::vector<ProductRow> productsOfWidths() {
  std::vector<ProductRow> rows;
  (addProducts<Element::bf16, ns>(rows), ...);
  (addProducts<Element::f16, ns>(rows), ...);
  return rows;
}

}  // namespace

void requireFree(const Warp& warp, const Instruction& in) {
  if (in.opcode->leavesBusy) return;  // it knows better what it may touch
  for (uint32_t i = 0; i < in.slotCount; ++i) {
    if (const InFlight* user = warp.busy->userOf(in.slots[i])) failBusy(warp, *user);
  }
}

// Widths: those of cuda/prims/generate-wgmma.mjs.
Opcodes warpgroupOpcodes() {
  static const std::vector<ProductRow> products = productsOfWidths<64, 80, 112, 128, 176, 192, 256>();
  Opcodes rows{
      {"wgmma.fence.sync.aligned", "", fence},
      {"wgmma.commit_group.sync.aligned", "", commit},
      {"wgmma.wait_group.sync.aligned", "i", wait, Kind::pause},
      {"setmaxnreg.inc.sync.aligned.u32", "i", setRegisters<true>},
      {"setmaxnreg.dec.sync.aligned.u32", "i", setRegisters<false>},
  };
  for (const ProductRow& row : products) {
    rows.push_back({row.opcode.c_str(), row.operands.c_str(), row.run, Kind::pause, true});
  }
  return rows;
}

}  // namespace tilewise::ptx
