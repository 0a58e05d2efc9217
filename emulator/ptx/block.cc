// How a block starts, and how its warps take turns.
#include "block.h"

#include <algorithm>
#include <cstring>

namespace tilewise::ptx {
namespace {

constexpr size_t kAlignment = 1024;
// Of a register that nothing was written to: no number, and as an address aligned and nowhere.
constexpr uint32_t kRegisterPoison = 0x7fffdea0;

uint8_t* aligned(std::vector<uint8_t>& storage) {
  const auto start = reinterpret_cast<uintptr_t>(storage.data());
  return storage.data() + (kAlignment - start % kAlignment) % kAlignment;
}

template <class T>
void fillLanes(uint8_t* slot, uint64_t bits) {
  const T value = T(bits);
  for (uint32_t lane = 0; lane < kLanes; ++lane) std::memcpy(slot + lane * sizeof value, &value, sizeof value);
}

}  // namespace

Block::Block(const Kernel& itsKernel, const emulator::Grid& itsGrid, const emulator::Options& itsOptions,
             const void* itsParams)
    : kernel(itsKernel),
      grid(itsGrid),
      options(itsOptions),
      params(static_cast<const uint8_t*>(itsParams)),
      warps(itsGrid.threads / kLanes),
      sharedEnd(emulator::kSharedBase + itsGrid.sharedBytes),
      sharedStorage_(itsGrid.sharedBytes + kAlignment),
      registerStorage_(size_t(itsKernel.fileBytes) * warps.size() + kAlignment) {
  shared = aligned(sharedStorage_) - emulator::kSharedBase;
}

void Block::reset(uint32_t itsIndex) {
  index = itsIndex;
  randomState_ = (options.seed + 1) * 0x9E3779B97F4A7C15ull ^ (uint64_t(index) + 1) * 0xD1B54A32D192ED03ull;
  std::fill(sharedStorage_.begin(), sharedStorage_.end(), emulator::kPoison);
  threads = std::vector<Thread>(grid.threads);
  std::fill(std::begin(barriers), std::end(barriers), Barrier());
  constexpr uint32_t kThreadsPerWarpgroup = 128;
  if (options.races) {
    races.enable(grid.threads, (grid.threads + kThreadsPerWarpgroup - 1) / kThreadsPerWarpgroup, sharedEnd, *this);
    for (uint32_t i = 0; i < grid.threads; ++i) {
      threads[i].view = races.freshView();
      threads[i].view.ordered[i] = 1;
    }
  }
  for (uint32_t i = 0; i < warps.size(); ++i) {
    Warp& warp = warps[i];
    warp = Warp();
    warp.registers = aligned(registerStorage_) + size_t(kernel.fileBytes) * i;
    warp.index = i;
    warp.block = this;
    warp.paths.push_back({0, -1, kAllLanes});
    fillRegisters(warp);
  }
}

void Block::fillRegisters(Warp& warp) const {
  std::fill(reinterpret_cast<uint32_t*>(warp.registers + kernel.firstRegister),
            reinterpret_cast<uint32_t*>(warp.registers + kernel.fileBytes), kRegisterPoison);
  for (const Constant& constant : kernel.constants) {
    uint8_t* slot = warp.registers + constant.slot;
    switch (constant.width) {
      case Width::predicate: std::memcpy(slot, &constant.bits, kSlotBytes[0]); break;
      case Width::b16: fillLanes<uint16_t>(slot, constant.bits); break;
      case Width::b32: fillLanes<uint32_t>(slot, constant.bits); break;
      case Width::b64: fillLanes<uint64_t>(slot, constant.bits); break;
    }
  }
}

uint64_t Block::random() {
  randomState_ ^= randomState_ << 13;
  randomState_ ^= randomState_ >> 7;
  randomState_ ^= randomState_ << 17;
  return randomState_;
}

bool Block::chance(uint32_t outOf) { return options.seed != 0 && random() % outOf == 0; }

// The first that may run, or any of those; null where there is none.
Warp* Block::pickReady() {
  Warp* picked = nullptr;
  uint64_t ready = 0;
  for (Warp& warp : warps) {
    if (warp.isDone() || warp.isWaiting) continue;
    if (options.seed == 0) return &warp;
    if (random() % ++ready == 0) picked = &warp;
  }
  return picked;
}

void Block::run(uint32_t itsIndex) {
  reset(itsIndex);
  while (Warp* warp = pickReady()) runWarp(*warp);
  for (const Warp& warp : warps) {
    if (!warp.isDone()) failDeadlocked();
  }
}

}  // namespace tilewise::ptx
