// Heap: memory on one GPU, in the order of a stream where the GPU can do that.
// Reader: someone who looks for memory. A Current must be alive where nothing else is said.
#pragma once

#include <mutex>

#include "device.h"

namespace tilewise::cuda {

class Heap {
 public:
  explicit Heap(Device& device) : device_(device) {}

  // Never null; usable by what comes later on the stream. Throws BackendError.
  void* allocate(int64_t bytes, Stream stream);
  // Nothing may be using it any more. No Current needed.
  void free(void* data, Stream stream) noexcept;

 private:
  Result take(Address& address, size_t bytes, Stream stream);
  Pool pool();

  Device& device_;
  std::mutex mutex_;  // of pool_
  Pool pool_ = nullptr;
};

}  // namespace tilewise::cuda
