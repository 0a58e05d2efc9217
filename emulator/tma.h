// TMA copies under way. Reader: block.h, tma.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "races.h"
#include "tensor_map.h"

namespace tilewise::emulator {

struct TmaCopy {
  SoftTensorMap map;  // by value: it may lie in the frame of the thread that issued the copy
  uint32_t shared;
  int corner[5];
  uint32_t barrier;       // of a load
  uint32_t agent, clock;  // for the race checker
};

// Loads that have been issued and have not landed.
class TmaFlights {
 public:
  // How hasty they are is drawn once per block: a load lands between two steps with probability 1 / haste, 0 is never.
  void reset(uint32_t haste) {
    haste_ = haste;
    copies_.clear();
  }
  bool empty() const { return copies_.empty(); }
  void add(const TmaCopy& copy) { copies_.push_back(copy); }
  void landSometimes();
  void landOne();  // the oldest, or by the seed any or the youngest

 private:
  void land(size_t index);
  uint32_t haste_ = 0;
  std::vector<TmaCopy> copies_;
};

// Of one thread.
struct TmaStores {
  std::vector<TmaCopy> issued;
  std::vector<size_t> groups;  // how many were issued when each was committed
  size_t done = 0;
};

// The block's counter of copies, for the race checker.
struct TmaClocks {
  uint32_t issued = 0;
  uint32_t clocks[RaceChecker::kTmaAgents] = {};
};

}  // namespace tilewise::emulator
