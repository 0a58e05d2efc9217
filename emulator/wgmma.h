// Warpgroup products under way. Reader: block.h, wgmma.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "operations.h"
#include "races.h"

namespace tilewise::emulator {

struct Thread;

// The accumulator of one warp, 16 x n, while products on it are in flight: taken from its registers when first used,
// poisoned there, and put back by the wait that names it.
struct Accumulator {
  float* lanes[32];
  int n;
  std::vector<float> values;
  size_t lastProduct;
};

// One instruction, once all four warps have issued it.
struct WarpgroupInstruction {
  WarpgroupProduct product;  // as the first warp issued it
  uint32_t issued = 0;       // warps
  bool isExecuted = false;
  Accumulator* accumulators[4];
  const uint32_t* aRegisters[4][32];
  uint32_t aValues[4][32][4];
  View view;  // what is ordered before all of its threads
};

// What one warp has issued and waited for; products are counted from the block's start.
struct WarpProducts {
  bool isFenced = false;
  size_t issued = 0, target = 0, waited = 0;
  std::vector<size_t> groups;  // how many were issued when each was committed
  std::vector<std::unique_ptr<Accumulator>> accumulators;
};

struct WarpgroupProducts {
  std::deque<std::unique_ptr<WarpgroupInstruction>> instructions;  // from `first` on
  size_t first = 0;
  std::vector<Thread*> waiting;  // for other warps to issue
  int registers = 0;             // per thread, when set
  WarpgroupInstruction& at(size_t index) { return *instructions[index - first]; }
};

}  // namespace tilewise::emulator
