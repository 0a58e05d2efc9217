// TMA: boxes between global and shared memory. Loads land when the schedule says so and then count down their mbarrier;
// stores are done at the latest when waited for.
#include "tma.h"

#include <algorithm>
#include <cstring>

#include "block.h"
#include "errors.h"
#include "global_memory.h"
#include "scheduler.h"
#include "shared_memory.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kChunkElements = 8;  // 16 bytes: what a swizzle moves as a whole
constexpr uint32_t kBoxAlignment = 128;

enum class Direction { load, store };

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

void moveChunk(const TmaCopy& copy, Direction direction, uint8_t* row, uint32_t first, uint8_t* shared) {
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
}

void move(const TmaCopy& copy, Direction direction) {
  const uint32_t width = copy.map.box[0], rows = copy.map.rows();
  for (uint32_t r = 0; r < rows; ++r) {
    uint8_t* row = globalRow(copy, r);
    for (uint32_t first = 0; first < width; first += kChunkElements) {
      const uint32_t address = copy.shared + (r * width + first) * kElementBytes;
      moveChunk(copy, direction, row, first, block().sharedMemory + swizzled(address, copy.map.swizzleBytes));
    }
  }
}

TmaCopy issue(const void* map, uint32_t shared, int rank, const int* corner) {
  Block& running = block();
  TmaCopy copy{};
  copy.map = tensorMapAt(map);
  copy.shared = shared;
  if (rank != copy.map.rank) {
    fail("TMA: " + std::to_string(rank) + " coordinates for a tensor of rank " + std::to_string(copy.map.rank));
  }
  if (shared % kBoxAlignment != 0) fail("TMA: the shared address is not a multiple of 128");
  sharedBytes(shared, copy.map.boxBytes(), "TMA");
  const Memory* memory = running.options.memory;
  if (memory != nullptr && !memory->contains(reinterpret_cast<void*>(copy.map.base), copy.map.extentBytes())) {
    fail("TMA: the tensor is larger than its allocation");
  }
  std::copy(corner, corner + rank, copy.corner);
  const uint32_t slot = running.tmaClocks.issued++ % RaceChecker::kTmaAgents;
  copy.agent = running.races.tmaAgent(slot);
  copy.clock = ++running.tmaClocks.clocks[slot];
  running.stats.tmaBytes += copy.map.boxBytes();
  return copy;
}

void finishLoad(const TmaCopy& copy) {
  move(copy, Direction::load);
  Mbarrier& barrier = block().mbarriers.at(copy.barrier);
  barrier.expectedBytes -= copy.map.boxBytes();
  if (block().races.isEnabled()) barrier.arriving.complete(copy.agent, copy.clock);
  settle(barrier);
}

}  // namespace

void TmaFlights::land(size_t index) {
  const TmaCopy copy = copies_[index];
  copies_.erase(copies_.begin() + int64_t(index));
  finishLoad(copy);
}

void TmaFlights::landSometimes() {
  const bool mayLand = !empty() && haste_ != 0 && block().options.async == Async::random;
  if (mayLand && block().chance(haste_)) land(block().random() % copies_.size());
}

void TmaFlights::landOne() {
  if (block().options.seed == 0) {
    land(0);
  } else {
    land(haste_ != 0 ? block().random() % copies_.size() : copies_.size() - 1);
  }
}

TW_OPERATION void tmaLoad(uint32_t to, const void* map, uint32_t barrier, int rank, const int* coordinates) {
  Block& running = block();
  self().operation = "tma.load";
  self().where = TW_WHERE;
  const bool isFenced = mbarrierAt(barrier).isFenced;
  TmaCopy copy = issue(map, to, rank, coordinates);
  copy.barrier = barrier;
  const uint32_t bytes = copy.map.boxBytes();
  if (running.races.isEnabled()) {
    if (!isFenced) fail("TMA: signals an mbarrier whose initialisation was not fenced @" + sourceLine(TW_WHERE));
    running.races.write(to, bytes, {copy.agent, copy.clock, &self().view, true, "TMA load", TW_WHERE});
  }
  if (running.options.async == Async::eager) {
    finishLoad(copy);
  } else {
    std::memset(running.sharedMemory + to, kPoison, bytes);
    running.flights.add(copy);
  }
  yieldSometimes();
}

TW_OPERATION void tmaStore(const void* map, uint32_t from, int rank, const int* coordinates) {
  Block& running = block();
  const TmaCopy copy = issue(map, from, rank, coordinates);
  if (running.races.isEnabled()) {
    running.races.read(from, copy.map.boxBytes(), {copy.agent, copy.clock, &self().view, true, "TMA store", TW_WHERE});
  }
  if (running.options.async == Async::eager) move(copy, Direction::store);
  self().stores.issued.push_back(copy);
}

void tmaStoreCommit() { self().stores.groups.push_back(self().stores.issued.size()); }

void tmaStoreWait(int pending) {
  TmaStores& stores = self().stores;
  if (stores.groups.size() <= size_t(pending)) return;
  const size_t end = stores.groups[stores.groups.size() - 1 - size_t(pending)];
  for (; stores.done < end; ++stores.done) {
    const TmaCopy& copy = stores.issued[stores.done];
    if (block().options.async != Async::eager) move(copy, Direction::store);
    if (block().races.isEnabled()) self().view.complete(copy.agent, copy.clock);
  }
}

}  // namespace tilewise::emulator
