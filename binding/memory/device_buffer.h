// Device buffers: memory of a backend, counted. JavaScript holds opaque handles, calls hold what they use.
// Reader: someone who asks when device memory is freed: with the last handle that was released or collected, and the
// last call that ran on it. Handles belong to one environment and to its thread.
#pragma once

#include <napi.h>

#include <memory>

#include "../../core/op/backend.h"

namespace tilewise {

class Allocation {
 public:
  // Throws BackendError. `device` is the backend's place in the list.
  Allocation(Napi::Env env, size_t device, DeviceMemory& memory, int64_t bytes);
  ~Allocation();
  Allocation(const Allocation&) = delete;
  Allocation& operator=(const Allocation&) = delete;

  size_t device() const { return device_; }
  DeviceMemory& memory() const { return memory_; }
  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  napi_env env_;
  size_t device_;
  DeviceMemory& memory_;
  int64_t bytes_;
  char* data_;
};
using Held = std::shared_ptr<const Allocation>;

// Of memory that the collector does not see, taken or freed (below 0): told of it, it looks for what nobody refers to
// any more. Device memory tells of itself.
void tellCollector(napi_env env, int64_t bytes);

// Bytes that allocations of this process hold on a device.
int64_t bytesInUse(size_t device);

// A new handle.
Napi::Value toHandle(Napi::Env env, Held allocation);
// Whether the value is a handle, whoever made it look like one.
bool isHandle(Napi::Env env, napi_value value);
// What a handle holds. Throws ERR_TILEWISE_DISPOSED when it was released, TypeError when the value is not a handle.
Held heldBy(Napi::Env env, napi_value handle);
// Lets go; a handle that was released already stays so.
void release(Napi::Env env, napi_value handle);

}  // namespace tilewise
