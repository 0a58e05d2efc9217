// The mbarriers of a block: phases that end when all arrivals have come and all expected bytes have landed.
// Reader: whoever executes mbarrier instructions, or lands what they count, on either machine of this folder.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "races.h"

namespace tilewise::emulator {

struct BlockMemory;
struct Caller;

class Mbarriers {
 public:
  explicit Mbarriers(BlockMemory& memory) : memory_(memory) {}
  void clear() { barriers_.clear(); }

  void init(uint32_t address, uint32_t count, const Caller& caller);
  // Initialisations by this thread are there for TMA.
  void fence(const Caller& caller);
  void arrive(uint32_t address, uint32_t expectedBytes, const Caller& caller);
  // Whether the phase of this parity is; then what came before its end is ordered before the caller.
  bool isOver(uint32_t address, uint32_t parity, const Caller& caller);
  // Wakes the waiter when the running phase ends.
  void await(uint32_t address, uint32_t waiter) { barriers_.at(address).waiting.push_back(waiter); }

  // Fails unless a copy may count down this one.
  void requireFenced(uint32_t address, const Caller& caller);
  void land(uint32_t address, uint32_t bytes, uint32_t agent, uint32_t clock);

  std::string describe() const;  // a line for each, of what is missing

 private:
  struct Mbarrier {
    uint32_t count = 0;
    uint32_t pending = 0;  // arrivals
    uint32_t phase = 0;
    int64_t expectedBytes = 0;
    std::vector<uint32_t> waiting;
    // What initialised it, and whether that was fenced for TMA.
    uint32_t creator = 0, created = 0;
    bool isFenced = false;
    View arriving, done;  // of this phase, of the phases before
  };
  // Fails where there is none, or the caller need not see it yet.
  Mbarrier& at(uint32_t address, const Caller& caller);
  void settle(Mbarrier& barrier);  // ends the phase if nothing is missing any more

  BlockMemory& memory_;
  std::map<uint32_t, Mbarrier> barriers_;
};

}  // namespace tilewise::emulator
