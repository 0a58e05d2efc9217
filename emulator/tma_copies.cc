// What a box is made of, and when it moves.
#include "tma_copies.h"

#include <algorithm>
#include <cstring>

#include "block_memory.h"
#include "global_memory.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kHastes[] = {0, 256, 32, 4};  // one is drawn for each block
constexpr uint32_t kChunkElements = 8;  // 16 bytes: what a swizzle moves as a whole
constexpr uint32_t kBoxAlignment = 128;

// Null where the row lies outside the tensor.
uint8_t* globalRow(const TmaCopy& copy, uint32_t row) {
  const SoftTensorMap& map = copy.map;
  uint64_t address = map.base;
  for (int d = 1; d < map.rank; ++d) {
    const int64_t x = int64_t(copy.corner[d]) + row % map.box[d];
    row /= map.box[d];
    if (x < 0 || uint64_t(x) >= map.dims[d]) return nullptr;
    address += uint64_t(x) * map.strides[d - 1];
  }
  return reinterpret_cast<uint8_t*>(address);
}

}  // namespace

void TmaCopies::reset() {
  loads_.clear();
  haste_ = kHastes[memory_.random() % 4];
  issued_ = 0;
  std::fill(std::begin(clocks_), std::end(clocks_), 0u);
}

void TmaCopies::move(const TmaCopy& copy, Direction direction) {
  const auto moveChunk = [&](uint8_t* row, uint32_t first, uint8_t* shared) {
    for (uint32_t i = 0; i < kChunkElements; ++i, shared += kElementBytes) {
      const int64_t x = int64_t(copy.corner[0]) + first + i;
      const bool isInside = row != nullptr && x >= 0 && uint64_t(x) < copy.map.dims[0];
      if (direction == Direction::store) {
        if (isInside) std::memcpy(row + x * kElementBytes, shared, kElementBytes);
      } else if (isInside) {
        std::memcpy(shared, row + x * kElementBytes, kElementBytes);
      } else {
        std::memset(shared, 0, kElementBytes);
      }
    }
  };
  const uint32_t width = copy.map.box[0], rows = copy.map.rows();
  for (uint32_t r = 0; r < rows; ++r) {
    uint8_t* row = globalRow(copy, r);
    for (uint32_t first = 0; first < width; first += kChunkElements) {
      const uint32_t address = copy.shared + (r * width + first) * kElementBytes;
      moveChunk(row, first, memory_.sharedMemory + swizzled(address, copy.map.swizzleBytes));
    }
  }
}

TmaCopy TmaCopies::issue(const TmaBox& box) {
  TmaCopy copy{};
  if (!readTensorMap(copy.map, box.map)) memory_.fail("not a tensor map");
  copy.shared = box.shared;
  const uint32_t bytes = copy.map.boxBytes();
  if (box.rank != copy.map.rank) {
    memory_.fail(std::to_string(box.rank) + " coordinates for a tensor of rank " + std::to_string(copy.map.rank));
  }
  if (box.shared % kBoxAlignment != 0) memory_.fail("the shared address is not a multiple of 128");
  if (!memory_.hasShared(box.shared, bytes)) memory_.fail(memory_.outsideText(box.shared, bytes));
  const Memory* memory = memory_.options.memory;
  if (memory != nullptr && !memory->contains(reinterpret_cast<void*>(copy.map.base), copy.map.extentBytes())) {
    memory_.fail("the tensor is larger than its allocation");
  }
  std::copy(box.corner, box.corner + box.rank, copy.corner);
  const uint32_t slot = issued_++ % RaceChecker::kTmaAgents;
  copy.agent = memory_.races.tmaAgent(slot);
  copy.clock = ++clocks_[slot];
  return copy;
}

uint32_t TmaCopies::load(const TmaBox& box, uint32_t barrier, const Caller& caller) {
  memory_.mbarriers.requireFenced(barrier, caller);
  TmaCopy copy = issue(box);
  copy.barrier = barrier;
  const uint32_t bytes = copy.map.boxBytes();
  if (memory_.races.isEnabled()) {
    memory_.races.write(box.shared, bytes, {copy.agent, copy.clock, caller.view, true, "TMA load", caller.where});
  }
  if (memory_.options.async == Async::eager) {
    finishLoad(copy);
  } else {
    std::memset(memory_.sharedMemory + box.shared, kPoison, bytes);
    loads_.push_back(copy);
  }
  return bytes;
}

uint32_t TmaCopies::store(TmaStores& stores, const TmaBox& box, const Caller& caller) {
  const TmaCopy copy = issue(box);
  const uint32_t bytes = copy.map.boxBytes();
  if (memory_.races.isEnabled()) {
    memory_.races.read(box.shared, bytes, {copy.agent, copy.clock, caller.view, true, "TMA store", caller.where});
  }
  if (memory_.options.async == Async::eager) move(copy, Direction::store);
  stores.issued_.push_back(copy);
  return bytes;
}

void TmaCopies::wait(TmaStores& stores, uint32_t pending, const Caller& caller) {
  if (stores.groups_.size() <= pending) return;
  const size_t end = stores.groups_[stores.groups_.size() - 1 - pending];
  for (; stores.done_ < end; ++stores.done_) {
    const TmaCopy& copy = stores.issued_[stores.done_];
    if (memory_.options.async != Async::eager) move(copy, Direction::store);
    if (memory_.races.isEnabled()) caller.view->complete(copy.agent, copy.clock);
  }
}

void TmaCopies::finishLoad(const TmaCopy& copy) {
  move(copy, Direction::load);
  memory_.mbarriers.land(copy.barrier, copy.map.boxBytes(), copy.agent, copy.clock);
}

void TmaCopies::land(size_t index) {
  const TmaCopy copy = loads_[index];
  loads_.erase(loads_.begin() + int64_t(index));
  finishLoad(copy);
}

void TmaCopies::landSometimes() {
  const bool mayLand = hasLoads() && haste_ != 0 && memory_.options.async == Async::random;
  if (mayLand && memory_.chance(haste_)) land(memory_.random() % loads_.size());
}

void TmaCopies::landOne() {
  if (memory_.options.seed == 0) {
    land(0);
  } else {
    land(haste_ != 0 ? memory_.random() % loads_.size() : loads_.size() - 1);
  }
}

}  // namespace tilewise::emulator
