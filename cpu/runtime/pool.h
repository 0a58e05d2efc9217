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

  int threads() const { return limit_.load(std::memory_order_relaxed); }
  void setThreads(int threads) { limit_.store(threads, std::memory_order_relaxed); }

  // Works on the job with the caller's thread and at most `threads - 1` of the pool's; returns when it is finished.
  // Throws what an item threw.
  void run(const std::shared_ptr<Job>& job, int threads);
  // Hands the job to the pool's threads and returns.
  void submit(std::shared_ptr<Job> job);

 private:
  Pool();
  void grow(int threads);  // with the lock held
  void serve();
  void takeItems(Job& job, Scratch& scratch);
  void leave(const std::shared_ptr<Job>& job, std::unique_lock<std::mutex>& lock);

  std::atomic<int> limit_;
  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  std::deque<std::shared_ptr<Job>> queue_;
  int workers_ = 0;
};

}  // namespace tilewise::cpu
