// A device's memory for one check: arrays go up, results come down. Reader: the checks beside it.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "../../../cuda/machine/machine.h"

namespace tilewise {

// The linked file decides which: emulated_device.cc, or driver_device.cc, whose limits are at most those asked for, and
// which has no use for `options`, the emulator's. Host planning thus meets the same limits on both.
std::unique_ptr<gpu::Machine> makeCheckedMachine(const std::string& options, const gpu::Limits& limits);

class Device {
 public:
  explicit Device(const std::string& options, const gpu::Limits& limits)
      : machine_(makeCheckedMachine(options, limits)), queue_(machine_->queue()) {}

  gpu::Queue& queue() { return *queue_; }
  const gpu::Limits& limits() const { return machine_->limits(); }

  template <class T>
  T* upload(const std::vector<T>& from) {
    const int64_t bytes = int64_t(from.size() * sizeof(T));
    T* const to = static_cast<T*>(queue_->allocate(bytes));
    queue_->upload(to, from.data(), bytes);
    return to;
  }
  template <class T>
  std::vector<T> download(const T* from, size_t count) {
    std::vector<T> to(count);
    queue_->download(to.data(), from, int64_t(count * sizeof(T)));
    queue_->wait();
    return to;
  }

 private:
  std::unique_ptr<gpu::Machine> machine_;
  std::unique_ptr<gpu::Queue> queue_;
};

// Small numbers from a seed, the same everywhere.
class Pick {
 public:
  explicit Pick(uint32_t seed) : state_(seed * 2654435761u + 1) {}
  int32_t operator()(int32_t n) { return int32_t((state_ = state_ * 1664525 + 1013904223) >> 8) % n; }
  template <class T, size_t N>
  T of(const T (&values)[N]) {
    return values[(*this)(int32_t(N))];
  }

 private:
  uint32_t state_;
};

}  // namespace tilewise
