// Registers of a warp that products in flight work on: places on the lanes' stacks. Reader: block.h, wgmma.cc.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "warpgroup_products.h"

namespace tilewise::emulator {

struct Thread;

// Poisoned while it is in flight.
struct AccumulatorRegisters {
  float* lanes[32];
  Accumulator sums;
  size_t lastProduct;
};

// Of operand a.
struct OperandRegisters {
  size_t product;
  const uint32_t* lanes[32];
  uint32_t values[32][4];  // when issued
};

struct RegistersInFlight {
  std::vector<std::unique_ptr<AccumulatorRegisters>> accumulators;
  std::deque<OperandRegisters> operands;
};

struct Warpgroup {
  WarpgroupProducts products;
  std::vector<Thread*> waiting;  // for other warps to issue
};

}  // namespace tilewise::emulator
