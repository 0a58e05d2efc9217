// A process-wide pool of threads that work through jobs item by item: short ones first, those of a kind as they came.
// Reader: the backend. Not libuv's pool: four calls there would hold up every file read of the process.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "run_delay.h"
#include "worker.h"

namespace tilewise::cpu {

// Items 0..count-1 in any order, each once, on any thread. Stops handing out items once `cancel` is set.
struct Job {
  int64_t items = 0;
  std::function<void(int64_t item, Worker&)> work;
  // Called once when no item is running any more, on the thread that finished last. An exception thrown by an item
  // stops the job and arrives here.
  std::function<void(std::exception_ptr error)> done;
  const std::atomic<bool>* cancel = nullptr;
  bool isShort = false;  // goes before those that are not
  int mostThreads = std::numeric_limits<int>::max();  // that work on it at once

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
  // Threads beyond the new number end when they have finished what they are at.
  void setThreads(int threads);
  // The same unless somebody has chosen already.
  void setThreadsOnce(int threads) {
    int nobody = 0;
    chosen_.compare_exchange_strong(nobody, threads, std::memory_order_relaxed);
  }

  // Of the pool's own threads.
  RunTimes runTimes();

  // Works on the job with the caller's thread and some of the pool's; returns when it is finished. Throws what an item
  // threw.
  void run(const std::shared_ptr<Job>& job);
  // Hands the job to the pool's threads and returns. Throws BackendError when there are none.
  void submit(const std::shared_ptr<Job>& job);

 private:
  friend class Worker;

  Pool();
  void grow(int threads);  // with the lock held; may end with fewer
  void serve();
  int mostThreads(const Job& job) const { return job.mostThreads < threads() ? job.mostThreads : threads(); }
  // The first job with room for one more thread, a short one if there is any and `shortFirst`. With the lock held.
  std::shared_ptr<Job> nextJob(bool shortFirst) const;
  std::deque<std::shared_ptr<Job>>& queueOf(const Job& job) { return job.isShort ? shortJobs_ : longJobs_; }
  void enqueue(const std::shared_ptr<Job>& job, int helpers);  // with the lock held; wakes so many threads
  void takeItems(Job& job, Worker& worker);
  void leave(const std::shared_ptr<Job>& job, std::unique_lock<std::mutex>& lock);
  bool hasShort() const { return shortCount_.load(std::memory_order_relaxed) > 0; }
  void serveShort(Worker& worker);  // one short call, if one has room

  const int cores_;
  std::atomic<int> chosen_{0};  // 0: nobody has
  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  std::deque<std::shared_ptr<Job>> shortJobs_, longJobs_;
  std::atomic<int> shortCount_{0};  // of shortJobs_, for threads without the lock
  int workers_ = 0;
  std::vector<int> workerIds_;  // as run_delay.h has them
};

}  // namespace tilewise::cpu
