// See pool.h.
#include "pool.h"

#include <algorithm>
#include <new>
#include <system_error>

#include "topology.h"

namespace tilewise::cpu {

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

void Pool::setThreads(int threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  chosen_.store(threads, std::memory_order_relaxed);
  wake_.notify_all();
}

void Pool::takeItems(Job& job, Worker& worker) {
  worker.isShort_ = job.isShort;
  worker.cancel_ = job.cancel;
  worker.turns_.begin();
  try {
    while (!job.isStopped.load(std::memory_order_relaxed) && worker.pause()) {
      const int64_t item = job.next.fetch_add(1, std::memory_order_relaxed);
      if (item >= job.items) break;
      job.work(item, worker);
    }
  } catch (...) {
    job.isStopped = true;
    const std::lock_guard<std::mutex> lock(mutex_);
    job.error = std::current_exception();
  }
  if (job.isShort) worker.turns_.wasShort();
}

// One thread fewer works on the job. The first to leave takes it off the queue (no items are left for others), the last
// one finishes it.
void Pool::leave(const std::shared_ptr<Job>& job, std::unique_lock<std::mutex>& lock) {
  auto& queue = queueOf(*job);
  if (const auto found = std::find(queue.begin(), queue.end(), job); found != queue.end()) {
    queue.erase(found);
    shortCount_ -= job->isShort;
  }
  if (--job->running > 0) return;
  job->isFinished = true;
  finished_.notify_all();
  if (!job->done) return;
  lock.unlock();
  job->done(job->error);
  lock.lock();
}

std::shared_ptr<Job> Pool::nextJob(bool shortFirst) const {
  for (const auto* queue : {shortFirst ? &shortJobs_ : &longJobs_, shortFirst ? &longJobs_ : &shortJobs_}) {
    for (const auto& job : *queue) {
      if (job->running < mostThreads(*job)) return job;
    }
  }
  return nullptr;
}

void Pool::enqueue(const std::shared_ptr<Job>& job, int helpers) {
  queueOf(*job).push_back(job);
  shortCount_ += job->isShort;
  for (int i = 0; i < helpers; ++i) wake_.notify_one();
}

void Pool::serve() {
  Worker worker(this);
  std::unique_lock<std::mutex> lock(mutex_);
  workerIds_.push_back(currentThread());  // grow() has made room
  while (workers_ <= std::max(1, threads())) {
    const std::shared_ptr<Job> job = nextJob(worker.turns_.areShortFirst());
    if (!job) {
      wake_.wait(lock);
      continue;
    }
    ++job->running;
    lock.unlock();
    takeItems(*job, worker);
    lock.lock();
    leave(job, lock);
  }
  --workers_;
  workerIds_.erase(std::find(workerIds_.begin(), workerIds_.end(), currentThread()));
  wake_.notify_one();  // in place of this thread, which may have been woken for a job
}

void Pool::serveShort(Worker& worker) {
  if (!worker.guest_) worker.guest_ = std::make_unique<Worker>();
  std::unique_lock<std::mutex> lock(mutex_);
  const std::shared_ptr<Job> job = nextJob(true);
  if (!job || !job->isShort) return;
  ++job->running;
  lock.unlock();
  takeItems(*job, *worker.guest_);
  lock.lock();
  leave(job, lock);
}

void Pool::run(const std::shared_ptr<Job>& job) {
  thread_local Worker worker;
  const int helpers = int(std::min<int64_t>(mostThreads(*job), job->items)) - 1;
  job->running = 1;
  std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
  if (helpers > 0) {
    lock.lock();
    grow(helpers);
    enqueue(job, helpers);
    lock.unlock();
  }
  takeItems(*job, worker);
  if (helpers > 0) {
    lock.lock();
    leave(job, lock);
    finished_.wait(lock, [&] { return job->isFinished; });
  } else if (job->done) {
    job->done(job->error);
  }
  if (job->error) std::rethrow_exception(job->error);
}

void Pool::submit(const std::shared_ptr<Job>& job) {
  const int helpers = int(std::min<int64_t>(mostThreads(*job), std::max<int64_t>(1, job->items)));
  std::lock_guard<std::mutex> lock(mutex_);
  grow(helpers);
  if (workers_ == 0) {
    throw BackendError("ERR_TILEWISE_OUT_OF_MEMORY",
                       "The system gives this process no thread for a call; the Sync form needs none");
  }
  enqueue(job, helpers);
}

}  // namespace tilewise::cpu
