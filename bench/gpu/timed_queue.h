// TimedQueue: a stream whose calls are timed by the GPU's own events, so that a slow host costs short kernels nothing.
// Reader: the benchmark beside it. The runtime's queues have no such events: no caller of the library needs them.
#pragma once

#include <functional>
#include <vector>

#include "../../cuda/runtime/loaded_kernels.h"

namespace tilewise::bench {

struct Times {
  double median, least, most;  // milliseconds
};

class TimedQueue final : public cuda::Queue {
 public:
  TimedQueue(cuda::Device& device, const cuda::Images& images);
  ~TimedQueue() override;

  // What a call allocates after keep() is given to the next call, too: calls of one case ask for the same every time.
  void* allocate(int64_t bytes) override;
  void keep() { kept_ = blocks_.size(); }
  void upload(void* to, const void* from, int64_t bytes) override;
  void download(void* to, const void* from, int64_t bytes) override;
  void launch(const cuda::Launch& launch) override;
  void wait() override;
  void freeAll();

  // After three calls that do not count. Cold: other data passes through the L2 cache before every call.
  Times time(const std::function<void()>& call, int samples, bool isCold);

 private:
  struct Block {
    cuda::Address address;
    int64_t bytes;
  };
  // Not among the functions that the runtime asks the driver for.
  using ElapsedTime = cuda::Result(float* milliseconds, cuda::Event begin, cuda::Event end);
  using Fill = cuda::Result(cuda::Address to, unsigned value, size_t count, cuda::Stream stream);

  void flush();
  void again() { next_ = kept_; }

  cuda::Device& device_;
  const cuda::Api& api_;
  cuda::LoadedKernels kernels_;
  ElapsedTime* elapsed_;
  Fill* fill_;
  cuda::Stream stream_ = nullptr;
  cuda::Address cache_ = 0;
  std::vector<Block> blocks_;
  size_t kept_ = 0, next_ = 0;
};

}  // namespace tilewise::bench
