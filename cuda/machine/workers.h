// Workers: threads that take submitted calls to the GPU and wait for them there.
// Reader: the backend. Not libuv's pool: four waiting calls there would hold up every file read of the process.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace tilewise::cuda {

// Starts threads as calls come; they never end, so this must live as long as the process once it has been used.
class Workers {
 public:
  void submit(std::function<void()> job);

 private:
  void serve();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  int threads_ = 0, idle_ = 0;
};

}  // namespace tilewise::cuda
