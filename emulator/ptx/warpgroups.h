// Registers of a warp that wgmma works on until a wait says that it has finished; nothing else may touch them.
// Reader: block.h, run.cc, warpgroups.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../warpgroup_products.h"
#include "kernel.h"

namespace tilewise::ptx {

// An accumulator, or operand a, whose registers are `slots` of the instruction that issued it last.
struct InFlight {
  const Instruction* instruction;
  const uint32_t* slots;
  uint32_t count;
  size_t product;                              // the last that works on them
  std::unique_ptr<emulator::Accumulator> sums;  // of an accumulator
};

class BusyRegisters {
 public:
  explicit BusyRegisters(uint32_t fileBytes) : users_(fileBytes / kUnit + 1) {}

  bool isAny() const { return !inFlight_.empty(); }
  // What works on a register; null where nothing does.
  InFlight* userOf(uint32_t slot) const { return users_[slot / kUnit]; }

  InFlight& add(InFlight inFlight);
  // Of products before `finished`; `putBack(sums, slots)` writes an accumulator's registers.
  template <class PutBack>
  void release(size_t finished, PutBack putBack) {
    size_t kept = 0;
    for (std::unique_ptr<InFlight>& each : inFlight_) {
      if (each->product >= finished) {
        inFlight_[kept++] = std::move(each);
        continue;
      }
      for (uint32_t i = 0; i < each->count; ++i) {
        if (userOf(each->slots[i]) == each.get()) users_[each->slots[i] / kUnit] = nullptr;
      }
      if (each->sums) putBack(*each->sums, each->slots);
    }
    inFlight_.resize(kept);
  }

 private:
  static constexpr uint32_t kUnit = 64;  // bytes: no two registers that are not predicates share as many

  std::vector<std::unique_ptr<InFlight>> inFlight_;
  std::vector<InFlight*> users_;  // by slot
};

struct Warpgroup {
  emulator::WarpgroupProducts products;
  std::vector<Warp*> waiting;  // for other warps to issue
};

// Fails where the instruction touches a register that is busy.
void requireFree(const Warp& warp, const Instruction& in);

}  // namespace tilewise::ptx
