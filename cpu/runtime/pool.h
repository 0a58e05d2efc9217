// A process-wide pool of threads that work through jobs item by item.
// Reader: the backend. Not libuv's pool: four calls there would hold up every file read of the process.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "run_delay.h"

namespace tilewise::cpu {

// Scratch memory of one thread, grown on demand and kept between items.
class Scratch {
 public:
  ~Scratch();
  float* floats(int64_t count);  // 64-byte aligned, contents undefined

 private:
  void* memory_ = nullptr;
  int64_t capacity_ = 0;
};

// Items 0..count-1 in any order, each once, on any thread. Stops handing out items once `cancel` is set.
struct Job {
  int64_t items = 0;
  std::function<void(int64_t item, Scratch&)> work;
  // Called once when no item is running any more, on the thread that finished last. An exception thrown by an item
  // stops the job and arrives here.
  std::function<void(std::exception_ptr error)> done;
  const std::atomic<bool>* cancel = nullptr;

  // The pool's own bookkeeping.
  std::atomic<int64_t> next{0};
  std::atomic<bool> isStopped{false};
  int running = 0;
  bool isFinished = false;
  std::exception_ptr error;
};

class Pool {
 public:
  static Pool& shared();

  int threads() const {
    const int chosen = chosen_.load(std::memory_order_relaxed);
    return chosen > 0 ? chosen : cores_;
  }
  void setThreads(int threads) { chosen_.store(threads, std::memory_order_relaxed); }
  // The same unless somebody has chosen already.
  void setThreadsOnce(int threads) {
    int nobody = 0;
    chosen_.compare_exchange_strong(nobody, threads, std::memory_order_relaxed);
  }

  // Of the pool's own threads.
  RunTimes runTimes();

  // Works on the job with the caller's thread and at most `threads - 1` of the pool's; returns when it is finished.
  // Throws what an item threw.
  void run(const std::shared_ptr<Job>& job, int threads);
  // Hands the job to the pool's threads and returns. Throws BackendError when there are none.
  void submit(std::shared_ptr<Job> job);

 private:
  Pool();
  void grow(int threads);  // with the lock held; may end with fewer
  void serve();
  void takeItems(Job& job, Scratch& scratch);
  void leave(const std::shared_ptr<Job>& job, std::unique_lock<std::mutex>& lock);

  const int cores_;
  std::atomic<int> chosen_{0};  // 0: nobody has
  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  std::deque<std::shared_ptr<Job>> queue_;
  int workers_ = 0;
  std::vector<int> workerIds_;  // as run_delay.h has them
};

}  // namespace tilewise::cpu
