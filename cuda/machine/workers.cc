// See workers.h.

#include "workers.h"

#include <thread>

#include "tuning.h"

namespace tilewise::cuda {

void Workers::submit(std::function<void()> job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (int(jobs_.size()) >= idle_ && threads_ < kMostThreads) {
      std::thread([this] { serve(); }).detach();
      ++threads_;
    }
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Workers::serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return !jobs_.empty(); });
    --idle_;
    {
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
    }
    lock.lock();
  }
}

}  // namespace tilewise::cuda
