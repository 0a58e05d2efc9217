// Worker: what an item of a job has of the thread it runs on. Reader: someone who writes a job; pool.h runs them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "../../core/base/platform.h"
#include "tuning.h"

namespace tilewise::cpu {

// Memory of one thread, grown on demand and kept between items.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();
  float* floats(int64_t count);  // 64-byte aligned, contents undefined

 private:
  void* memory_ = nullptr;
  int64_t capacity_ = 0;
};

// Whose turn it is on one thread: short calls go first, but not for longer than long ones then do.
class Turns {
 public:
  bool areShortFirst() const { return ahead_ < kShortSpell; }
  void begin() { since_ = Clock::now(); }
  void wasShort() { ahead_ = smaller(2 * kShortSpell, ahead_ + lap()); }
  void wasLong() { ahead_ = larger(Clock::duration::zero(), ahead_ - lap()); }

 private:
  using Clock = std::chrono::steady_clock;

  Clock::duration lap() {
    const Clock::time_point before = since_;
    begin();
    return since_ - before;
  }

  Clock::time_point since_;
  Clock::duration ahead_{0};  // how much longer short calls had this thread
};

class Pool;

class Worker {
 public:
  // With a pool the thread takes up its short calls while an item of a long one pauses.
  explicit Worker(Pool* pool = nullptr) : pool_(pool) {}

  float* floats(int64_t count) { return scratch_.floats(count); }

  // What an item asks every few milliseconds. False: its call is cancelled, and the item ends.
  bool pause();

 private:
  friend class Pool;

  Pool* const pool_;
  Scratch scratch_;
  Turns turns_;
  bool isShort_ = false;  // the job it works on
  const std::atomic<bool>* cancel_ = nullptr;  // that job's
  std::unique_ptr<Worker> guest_;  // for short calls while an item holds the scratch memory
};

}  // namespace tilewise::cpu
