// TmaCopies: boxes on their way between global and shared memory. A load lands when the schedule says so, and counts
// down its mbarrier then; a store is done at the latest when it is waited for. A block may not end before either.
// Reader: whoever executes cp.async.bulk.tensor, on either machine of this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "races.h"
#include "tensor_map.h"

namespace tilewise::emulator {

struct BlockMemory;
struct Caller;

// What an instruction says. `map`: its 128 bytes, read at once.
struct TmaBox {
  const void* map;
  uint32_t shared;
  int rank;
  const int* corner;
};

struct TmaCopy {
  SoftTensorMap map;
  uint32_t shared;
  int corner[5];
  uint32_t barrier;       // of a load
  uint32_t agent, clock;  // in the order of races.h
};

// Of one thread.
class TmaStores {
 public:
  void commit() { groups_.push_back(issued_.size()); }
  bool areDone() const { return done_ == issued_.size(); }

 private:
  friend class TmaCopies;
  std::vector<TmaCopy> issued_;
  std::vector<size_t> groups_;  // how many were issued when each was committed
  size_t done_ = 0;
};

class TmaCopies {
 public:
  explicit TmaCopies(BlockMemory& memory) : memory_(memory) {}
  void reset();

  // Both return the bytes of the box.
  uint32_t load(const TmaBox& box, uint32_t barrier, const Caller& caller);
  uint32_t store(TmaStores& stores, const TmaBox& box, const Caller& caller);
  // Until at most so many of the thread's groups are not done.
  void wait(TmaStores& stores, uint32_t pending, const Caller& caller);

  bool hasLoads() const { return !loads_.empty(); }  // in flight
  void landSometimes();
  void landOne();  // the oldest, or by the seed any or the youngest

 private:
  TmaCopy issue(const TmaBox& box);
  void land(size_t index);
  void finishLoad(const TmaCopy& copy);
  enum class Direction { load, store };
  void move(const TmaCopy& copy, Direction direction);

  BlockMemory& memory_;
  std::vector<TmaCopy> loads_;
  uint32_t haste_ = 0;  // a load lands between two steps with probability 1 / haste; 0 is never
  uint32_t issued_ = 0;
  uint32_t clocks_[RaceChecker::kTmaAgents] = {};
};

}  // namespace tilewise::emulator
