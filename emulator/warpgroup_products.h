// WarpgroupProducts: wgmma of one warpgroup. A product is whole once all four warps have issued it, and finished by the
// wait that says so; in between shared memory is read when the schedule says so.
// Knows nothing of how threads run or where registers are. Reader: whoever executes wgmma, on either machine of this
// folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "descriptor.h"
#include "operations.h"
#include "races.h"

namespace tilewise::emulator {

struct BlockMemory;

constexpr uint32_t kWarpsPerGroup = 4;

// The accumulator of one warp, 16 x n, while products on it are in flight: its registers are filled in when it is first
// used, and taken back by the wait that finishes it.
struct Accumulator {
  explicit Accumulator(uint32_t columns) : n(columns), values(size_t(16) * columns) {}
  float& of(uint32_t lane, uint32_t r);

  uint32_t n;
  std::vector<float> values;
};

// One warp's part of a product.
struct WarpPart {
  WarpgroupProduct product;
  Accumulator* sums;
  const uint32_t (*a)[4];  // of each lane; null: a is read from shared memory
  std::vector<View*> views;  // of each lane; empty unless races are checked
  const void* where;
};

class WarpgroupProducts {
 public:
  WarpgroupProducts(BlockMemory& memory, uint32_t warpgroup) : memory_(memory), warpgroup_(warpgroup) {}

  // `warp`, here and below: of the four. Returns whether the product is whole now.
  bool issue(uint32_t warp, const WarpPart& part);
  // Registers that were touched may be accumulators from here on, until the next wait.
  void fence(uint32_t warp) { warps_[warp].isFenced = true; }
  bool isFenced(uint32_t warp) const { return warps_[warp].isFenced; }
  void commit(uint32_t warp) { warps_[warp].groups.push_back(warps_[warp].issued); }

  // A wait for all but so many groups; it may end once all warps have issued what it waits for.
  void beginWait(uint32_t warp, uint32_t pending);
  bool canEndWait(uint32_t warp) const;
  // All products before the one that is returned, counted from the block's start, are finished.
  size_t endWait(uint32_t warp);

  size_t issued(uint32_t warp) const { return warps_[warp].issued; }  // products

 private:
  struct Issued {
    WarpgroupProduct product;  // as the first warp issued it
    uint32_t warps = 0;  // that have
    bool isExecuted = false;
    Accumulator* sums[kWarpsPerGroup];
    uint32_t a[kWarpsPerGroup][32][4];
    View view;  // what is ordered before all of its threads
  };
  struct WarpState {
    bool isFenced = false;
    size_t issued = 0, target = 0, waited = 0;
    std::vector<size_t> groups;  // how many were issued when each was committed
  };

  Issued& at(size_t index) { return *issued_[index - first_]; }
  Operand operandOf(uint64_t descriptor, bool isMnMajor) const;
  void checkOperands(const Issued& issued, const Agent& agent);
  void executeUpTo(size_t end);
  template <Element E>
  void execute(Issued& issued);
  template <Element E>
  void load(float* out, uint64_t descriptor, bool isMnMajor, uint32_t extent, uint32_t mnStep, uint32_t kStep) const;

  BlockMemory& memory_;
  uint32_t warpgroup_;
  WarpState warps_[kWarpsPerGroup];
  std::deque<std::unique_ptr<Issued>> issued_;  // from `first_` on
  size_t first_ = 0;
};

}  // namespace tilewise::emulator
