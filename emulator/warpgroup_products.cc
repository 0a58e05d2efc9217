// The order of products, what they read, and the products themselves.
#include "warpgroup_products.h"

#include <algorithm>
#include <cstring>

#include "block_memory.h"
#include "fragments.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kAllWarps = 15, kLanes = 32, kChunkBytes = 16;
constexpr uint32_t kRows = 64, kMostColumns = 256;

}  // namespace

float& Accumulator::of(uint32_t lane, uint32_t r) {
  return values[accumulatorRow(lane, r) * n + accumulatorColumn(lane, r)];
}

bool WarpgroupProducts::issue(uint32_t warp, const WarpPart& part) {
  WarpState& state = warps_[warp];
  if (state.issued - first_ == issued_.size()) {
    issued_.push_back(std::make_unique<Issued>());
    issued_.back()->product = part.product;
  }
  Issued& issued = at(state.issued);
  if (!(part.product == issued.product))
    memory_.fail("warps of the warpgroup disagree on the product or its descriptors");
  ++state.issued;
  issued.sums[warp] = part.sums;
  if (part.a != nullptr) std::memcpy(issued.a[warp], part.a, sizeof issued.a[warp]);
  for (const View* view : part.views) {
    if (issued.view.ordered.empty()) {
      issued.view = *view;
    } else {
      issued.view.meet(*view);
    }
  }
  issued.warps |= 1u << warp;
  if (issued.warps != kAllWarps) return false;
  checkOperands(
      issued, {memory_.races.wgmmaAgent(warpgroup_), uint32_t(state.issued), &issued.view, true, "wgmma", part.where});
  const Async when = memory_.options.async;
  if (when == Async::eager || (when == Async::random && memory_.chance(2))) executeUpTo(state.issued);
  return true;
}

void WarpgroupProducts::beginWait(uint32_t warp, uint32_t pending) {
  WarpState& state = warps_[warp];
  state.isFenced = false;
  const size_t groups = state.groups.size();
  if (groups > pending) state.target = state.groups[groups - 1 - pending];
}

bool WarpgroupProducts::canEndWait(uint32_t warp) const {
  return std::all_of(std::begin(warps_), std::end(warps_),
                     [&](const WarpState& other) { return other.issued >= warps_[warp].target; });
}

size_t WarpgroupProducts::endWait(uint32_t warp) {
  WarpState& state = warps_[warp];
  executeUpTo(state.target);
  state.waited = std::max(state.waited, state.target);
  // What all four warps have waited for is forgotten.
  size_t waitedByAll = state.waited;
  for (const WarpState& other : warps_) waitedByAll = std::min(waitedByAll, other.waited);
  for (; first_ < waitedByAll; ++first_) issued_.pop_front();
  return state.waited;
}

Operand WarpgroupProducts::operandOf(uint64_t descriptor, bool isMnMajor) const {
  const std::string fault = Operand::faultOf(descriptor, isMnMajor);
  if (!fault.empty()) memory_.fail(fault);
  return Operand(descriptor, isMnMajor);
}

void WarpgroupProducts::checkOperands(const Issued& issued, const Agent& agent) {
  const auto check = [&](uint32_t address, uint32_t, uint32_t) {
    if (!memory_.hasShared(address, kChunkBytes)) memory_.fail(memory_.outsideText(address, kChunkBytes));
    if (memory_.races.isEnabled()) memory_.races.read(address, kChunkBytes, agent);
  };
  const WarpgroupProduct& product = issued.product;
  if (!product.isAInRegisters) operandOf(product.a, product.transposeA).forEachChunk(kRows, check);
  operandOf(product.b, product.transposeB).forEachChunk(product.n, check);
}

void WarpgroupProducts::executeUpTo(size_t end) {
  for (size_t i = first_; i < end; ++i) {
    Issued& issued = at(i);
    if (issued.isExecuted) continue;
    if (issued.product.element == Element::bf16) {
      execute<Element::bf16>(issued);
    } else {
      execute<Element::f16>(issued);
    }
  }
}

// Element (mn, k) goes to out[mn * mnStep + k * kStep].
template <Element E>
void WarpgroupProducts::load(float* out, uint64_t descriptor, bool isMnMajor, uint32_t extent, uint32_t mnStep,
                             uint32_t kStep) const {
  Operand(descriptor, isMnMajor).forEachChunk(extent, [&](uint32_t address, uint32_t mn, uint32_t k) {
    uint16_t values[8];
    std::memcpy(values, memory_.sharedMemory + address, sizeof values);
    const uint32_t step = isMnMajor ? mnStep : kStep;
    for (uint32_t i = 0; i < 8; ++i) out[mn * mnStep + k * kStep + i * step] = widen<E>(values[i]);
  });
}

template <Element E>
void WarpgroupProducts::execute(Issued& issued) {
  const WarpgroupProduct& product = issued.product;
  float a[kRows * kDepth], b[kDepth * kMostColumns];
  if (product.isAInRegisters) {
    for (uint32_t w = 0; w < kWarpsPerGroup; ++w) {
      for (uint32_t lane = 0; lane < kLanes; ++lane)
        unpackA<E>(a + w * kFragmentRows * kDepth, lane, issued.a[w][lane]);
    }
  } else {
    load<E>(a, product.a, product.transposeA, kRows, kDepth, 1);
  }
  load<E>(b, product.b, product.transposeB, product.n, 1, product.n);
  for (uint32_t w = 0; w < kWarpsPerGroup; ++w) {
    std::vector<float>& c = issued.sums[w]->values;
    if (!product.keep) std::fill(c.begin(), c.end(), 0.f);
    accumulate(c.data(), a + w * kFragmentRows * kDepth, b, product.n, kDepth);
  }
  issued.isExecuted = true;
}

}  // namespace tilewise::emulator
