// A transfer between a typed array and device memory. Reader: someone who follows Tensor.to() into a backend.
#pragma once

#include "../requests/reading.h"

namespace tilewise {

// Holds nothing: who runs it sees to it that both sides stay.
struct Transfer {
  DeviceMemory* memory;
  char *device, *host;
  int64_t bytes;

  void upload() const { memory->write(device, host, bytes); }
  void download() const { memory->read(host, device, bytes); }
};

// (handle, typed array, byte): the whole array, and the device's memory from `byte` on.
inline Transfer readTransfer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Held held = heldBy(env, info[0]);
  const View view = readView(env, info[1]);
  if (!view.isPresent || view.held) refuse(env, "a transfer needs a typed array");
  const double at = info[2].IsNumber() ? info[2].As<Napi::Number>().DoubleValue() : -1;
  if (!(at >= 0) || at != std::floor(at) || at + double(view.bytes) > double(held->bytes())) {
    refuse(env, "a transfer reaches outside the device's memory");
  }
  return {&held->memory(), held->data() + int64_t(at), view.data, view.bytes};
}

}  // namespace tilewise
