// Device: one GPU of the driver, its context and its health.
// Reader: someone who adds a call to the driver. Every call needs a Current alive on its thread and its result checked
// by check(), which remembers when the context is lost.
#pragma once

#include <mutex>
#include <string>

#include "../machine/machine.h"
#include "driver.h"

namespace tilewise::cuda {

class Device {
 public:
  Device(const Driver& driver, int ordinal);  // asks for properties only, makes no context

  const Api& api() const { return api_; }
  DeviceHandle handle() const { return handle_; }
  const std::string& name() const { return name_; }
  const cuda::Limits& limits() const { return limits_; }
  bool hasPools() const { return hasPools_; }

  // Throws BackendError unless the result is success.
  void check(Result result, const char* call, const std::string& detail = {});
  // For frees: notes a lost context, throws nothing. Memory of a driver that has shut down is gone already.
  void note(Result result, const char* call) noexcept;

 private:
  friend class Current;
  Context context();  // throws when it is lost
  void lose(std::string message);

  const Api& api_;
  DeviceHandle handle_ = 0;
  std::string name_;
  cuda::Limits limits_;
  bool hasPools_ = false;

  std::mutex mutex_;
  Context context_ = nullptr;
  std::string lost_;  // why; empty while all is well
};

// While this lives its thread is inside the driver. Throws once the process ends: exit() waits until no thread is
// inside, so that none meets a driver that is shutting down.
class InDriver {
 public:
  InDriver();
  ~InDriver();
  InDriver(const InDriver&) = delete;
  InDriver& operator=(const InDriver&) = delete;
};

// The device's primary context, which other libraries of the process share, is current on this thread while this lives.
class Current {
 public:
  explicit Current(Device& device) : device_(device) {
    device.check(device.api().cuCtxPushCurrent(device.context()), "cuCtxPushCurrent");
  }
  ~Current() {
    Context popped = nullptr;
    device_.note(device_.api().cuCtxPopCurrent(&popped), "cuCtxPopCurrent");
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  InDriver inDriver_;
  Device& device_;
};

}  // namespace tilewise::cuda
