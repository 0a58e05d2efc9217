// See worker.h.
#include "worker.h"

#include <cstdlib>
#include <new>

#include "pool.h"

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

bool Worker::pause() {
  if (pool_ && !isShort_) {
    turns_.wasLong();
    while (pool_->hasShort() && turns_.areShortFirst()) {
      pool_->serveShort(*this);
      turns_.wasShort();
    }
  }
  return !cancel_ || !cancel_->load(std::memory_order_relaxed);
}

}  // namespace tilewise::cpu
