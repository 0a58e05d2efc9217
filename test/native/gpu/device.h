// A device's memory for one check: arrays go up, results come down. Reader: the checks beside it.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "../../../cuda/machine/machine.h"
#include "../pick.h"

namespace tilewise {

// The linked file decides which: emulated_device.cc, or driver_device.cc, whose limits are at most those asked for, and
// which has no use for `options`, the emulator's. Host planning thus meets the same limits on both.
std::unique_ptr<cuda::Machine> makeCheckedMachine(const std::string& options, const cuda::Limits& limits);

class Device {
 public:
  explicit Device(const std::string& options, const cuda::Limits& limits)
      : machine_(makeCheckedMachine(options, limits)), queue_(machine_->queue()) {}

  cuda::Queue& queue() { return *queue_; }
  const cuda::Limits& limits() const { return machine_->limits(); }

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
  std::unique_ptr<cuda::Machine> machine_;
  std::unique_ptr<cuda::Queue> queue_;
};

}  // namespace tilewise
