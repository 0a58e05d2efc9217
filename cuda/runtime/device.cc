// See device.h.

#include "device.h"

#include <condition_variable>
#include <cstdlib>

#include "../../core/op/backend.h"

namespace tilewise::cuda {
namespace {

// Who is inside the driver. Never destroyed: threads outlive main().
struct Gate {
  std::mutex mutex;
  std::condition_variable left;
  int inside = 0;
  bool isClosed = false;
};

Gate& gate() {
  static Gate& only = *new Gate;
  return only;
}

void closeGate() {
  std::unique_lock<std::mutex> lock(gate().mutex);
  gate().isClosed = true;
  gate().left.wait(lock, [] { return gate().inside == 0; });
}

}  // namespace

InDriver::InDriver() {
  const std::lock_guard<std::mutex> lock(gate().mutex);
  if (gate().isClosed) throw BackendError("ERR_TILEWISE_CUDA", "the process is ending");
  ++gate().inside;
}

InDriver::~InDriver() {
  const std::lock_guard<std::mutex> lock(gate().mutex);
  if (--gate().inside == 0) gate().left.notify_all();
}

Device::Device(const Driver& driver, int ordinal) : api_(driver.api) {
  check(api_.cuDeviceGet(&handle_, ordinal), "cuDeviceGet");
  char name[256] = "";
  check(api_.cuDeviceGetName(name, sizeof(name), handle_), "cuDeviceGetName");
  name_ = name;
  const auto attribute = [&](int which) {
    int value = 0;
    check(api_.cuDeviceGetAttribute(&value, which, handle_), "cuDeviceGetAttribute");
    return value;
  };
  limits_.computeCapability = 10 * attribute(kCapabilityMajor) + attribute(kCapabilityMinor);
  limits_.multiprocessors = attribute(kMultiprocessors);
  limits_.sharedBytesPerBlock = attribute(kSharedBytesPerBlock);
  hasPools_ = attribute(kHasMemoryPools) != 0;
}

void Device::check(Result result, const char* call, const std::string& detail) {
  if (result == Result::success) return;
  if (isSticky(result)) lose(describe(api_, result, call, detail));
  cuda::check(api_, result, call, detail);
}

void Device::note(Result result, const char* call) noexcept {
  if (isSticky(result)) lose(describe(api_, result, call));
}

void Device::lose(std::string message) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (lost_.empty()) lost_ = std::move(message);
}

Context Device::context() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!lost_.empty()) throw BackendError("ERR_TILEWISE_DEVICE_LOST", "an earlier call lost the GPU: " + lost_);
  if (!context_) {
    cuda::check(api_, api_.cuDevicePrimaryCtxRetain(&context_, handle_), "cuDevicePrimaryCtxRetain");
    std::atexit(closeGate);  // after whatever the driver has registered, so that it runs before
  }
  return context_;
}

}  // namespace tilewise::cuda
