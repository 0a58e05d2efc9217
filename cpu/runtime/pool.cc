// See pool.h.
#include "pool.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <system_error>

#include "topology.h"

namespace tilewise::cpu {

Scratch::~Scratch() { std::free(memory_); }

float* Scratch::floats(int64_t count) {
  if (count > capacity_) {
    std::free(memory_);
    memory_ = nullptr;
    capacity_ = 0;
    const int64_t rounded = (count + 1023) / 1024 * 1024;
    memory_ = std::aligned_alloc(64, size_t(rounded) * sizeof(float));
    if (!memory_) throw std::bad_alloc();
    capacity_ = rounded;
  }
  return static_cast<float*>(memory_);
}

// Never destroyed: threads may still be working when static destructors run at process.exit().
Pool& Pool::shared() {
  static Pool* pool = new Pool;
  return *pool;
}

Pool::Pool() : cores_(physicalCores()) {}

// A process that may not have more threads, or has no memory for their stacks, works on with those it has.
void Pool::grow(int threads) {
  try {
    workerIds_.reserve(size_t(threads));
    for (; workers_ < threads; ++workers_) std::thread([this] { serve(); }).detach();
  } catch (const std::system_error&) {
  } catch (const std::bad_alloc&) {
  }
}

RunTimes Pool::runTimes() {
  std::unique_lock<std::mutex> lock(mutex_);
  const std::vector<int> ids = workerIds_;
  lock.unlock();
  return runTimesOf(ids);
}

void Pool::takeItems(Job& job, Scratch& scratch) {
  try {
    while (!job.isStopped.load(std::memory_order_relaxed)) {
      if (job.cancel && job.cancel->load(std::memory_order_relaxed)) return;
      const int64_t item = job.next.fetch_add(1, std::memory_order_relaxed);
      if (item >= job.items) return;
      job.work(item, scratch);
    }
  } catch (...) {
    job.isStopped = true;
    const std::lock_guard<std::mutex> lock(mutex_);
    job.error = std::current_exception();
  }
}

// One thread fewer works on the job. The first to leave takes it off the queue (no items are left for others), the last
// one finishes it.
void Pool::leave(const std::shared_ptr<Job>& job, std::unique_lock<std::mutex>& lock) {
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (*it == job) {
      queue_.erase(it);
      break;
    }
  }
  if (--job->running > 0) return;
  job->isFinished = true;
  finished_.notify_all();
  if (!job->done) return;
  lock.unlock();
  job->done(job->error);
  lock.lock();
}

void Pool::serve() {
  Scratch scratch;
  std::unique_lock<std::mutex> lock(mutex_);
  workerIds_.push_back(currentThread());  // grow() has made room
  for (;;) {
    std::shared_ptr<Job> job;
    for (const auto& candidate : queue_) {
      if (candidate->running < threads()) {
        job = candidate;
        break;
      }
    }
    if (!job) {
      wake_.wait(lock);
      continue;
    }
    ++job->running;
    lock.unlock();
    takeItems(*job, scratch);
    lock.lock();
    leave(job, lock);
  }
}

void Pool::run(const std::shared_ptr<Job>& job, int threads) {
  thread_local Scratch scratch;
  const int64_t helpers = std::min<int64_t>(threads, job->items) - 1;
  std::unique_lock<std::mutex> lock(mutex_);
  job->running = 1;
  if (helpers > 0) {
    grow(int(helpers));
    queue_.push_back(job);
    wake_.notify_all();
  }
  lock.unlock();
  takeItems(*job, scratch);
  lock.lock();
  leave(job, lock);
  finished_.wait(lock, [&] { return job->isFinished; });
  if (job->error) std::rethrow_exception(job->error);
}

void Pool::submit(std::shared_ptr<Job> job) {
  const int64_t helpers = std::min<int64_t>(threads(), std::max<int64_t>(1, job->items));
  std::lock_guard<std::mutex> lock(mutex_);
  grow(int(helpers));
  if (workers_ == 0) {
    throw BackendError("ERR_TILEWISE_OUT_OF_MEMORY",
                       "The system gives this process no thread for a call; the Sync form needs none");
  }
  queue_.push_back(std::move(job));
  wake_.notify_all();
}

}  // namespace tilewise::cpu
