// Shared memory of a block that runs, and what guards it: the order of its accesses, barriers in it, copies in flight.
// Knows nothing of how threads run: the Block of either machine of this folder is one, and can name and wake them.
// Reader: whoever writes what both machines do with shared memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "access.h"
#include "emulator.h"
#include "mbarriers.h"
#include "races.h"
#include "tma_copies.h"

namespace tilewise::emulator {

// The thread that executes an operation. `view`: in the order of races.h; of no meaning unless that is checked.
struct Caller {
  uint32_t thread;
  View* view;
  const void* where;
};

struct BlockMemory : Reporter {
  BlockMemory(const Grid& grid, const Options& options);

  // On behalf of the operation that runs.
  [[noreturn]] virtual void fail(const std::string& what) const = 0;
  // Lets go on whoever waits under this number of the machine's own.
  virtual void wake(uint32_t waiter) = 0;

  bool hasShared(uint32_t address, uint32_t bytes) const {
    return address >= kSharedBase && uint64_t(address) + bytes <= sharedEnd;
  }
  std::string outsideText(uint32_t address, uint32_t bytes) const;  // where it has not

  // What the thread wrote, and the barriers it initialised, are there for TMA and wgmma.
  void fenceProxy(const Caller& caller);

  uint64_t random();
  bool chance(uint32_t outOf);  // always false unless the schedule is seeded

  const Options& options;
  const uint32_t sharedEnd;
  uint8_t* sharedMemory;  // indexed by shared address
  RaceChecker races;
  Mbarriers mbarriers{*this};
  TmaCopies tma{*this};

 protected:
  ~BlockMemory() = default;
  void resetMemory(uint32_t index);  // poisoned, as a block finds it

 private:
  const uint32_t threads_;
  std::vector<uint8_t> storage_;
  uint64_t randomState_ = 1;
};

}  // namespace tilewise::emulator
