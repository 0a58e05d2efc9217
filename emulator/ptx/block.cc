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
    : BlockMemory(itsGrid, itsOptions),
      kernel(itsKernel),
      grid(itsGrid),
      params(static_cast<const uint8_t*>(itsParams)),
      warps(itsGrid.threads / kLanes),
      registers(itsGrid.threads),
      registerStorage_(size_t(itsKernel.fileBytes) * warps.size() + kAlignment) {}

void Block::reset(uint32_t itsIndex) {
  index = itsIndex;
  resetMemory(index);
  threads = std::vector<Thread>(grid.threads);
  std::fill(std::begin(barriers), std::end(barriers), Barrier());
  warpgroups.clear();
  registers = emulator::RegisterPool(grid.threads);
  for (uint32_t i = 0; options.races && i < grid.threads; ++i) {
    threads[i].view = races.freshView();
    threads[i].view.ordered[i] = 1;
  }
  for (uint32_t i = 0; i < warps.size(); ++i) {
    Warp& warp = warps[i];
    warp = Warp();
    warp.registers = aligned(registerStorage_) + size_t(kernel.fileBytes) * i;
    warp.index = i;
    warp.block = this;
    warp.paths.push_back({0, -1, kAllLanes});
    if (kernel.leavesBusy) warp.busy = std::make_unique<BusyRegisters>(kernel.fileBytes);
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
  while (!isOver()) {
    if (options.seed != 0) tma.landSometimes();
    if (Warp* warp = pickReady()) {
      runWarp(*warp);
    } else if (tma.hasLoads()) {
      tma.landOne();  // nobody can go on until one lands
    } else {
      failDeadlocked();
    }
  }
  requireLanded();
  const std::string fault = registers.faultAtEnd();
  if (!fault.empty()) throw emulator::Error("block " + std::to_string(index) + ": " + fault);
}

void Block::requireLanded() const {
  const std::string exits = "block " + std::to_string(index) + " exits with TMA ";
  if (tma.hasLoads()) throw emulator::Error(exits + "loads in flight");
  for (const Thread& thread : threads) {
    if (!thread.stores.areDone()) throw emulator::Error(exits + "stores that nobody waited for");
  }
}

bool Block::isOver() const {
  return std::all_of(warps.begin(), warps.end(), [](const Warp& warp) { return warp.isDone(); });
}

}  // namespace tilewise::ptx
