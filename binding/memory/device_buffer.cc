// See device_buffer.h.
#include "device_buffer.h"

#include <mutex>
#include <utility>
#include <vector>

namespace tilewise {
namespace {

// Handles wrap a Held; the tag tells them from every other object, wrapped or not.
constexpr napi_type_tag kTag{0x74696c6577697365, 0x6275666665722d31};

// Of all environments; never destroyed, as workers may outlive main().
struct InUse {
  std::mutex mutex;
  std::vector<int64_t> bytes;

  int64_t add(size_t device, int64_t change) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (bytes.size() <= device) bytes.resize(device + 1);
    return bytes[device] += change;
  }
};
InUse& inUse() {
  static auto* all = new InUse;
  return *all;
}

Held* find(Napi::Env env, napi_value value) {
  if (!isHandle(env, value)) throw Napi::TypeError::New(env, "not a handle of device memory");
  void* found = nullptr;
  if (napi_unwrap(env, value, &found) != napi_ok) throw Napi::Error::New(env);
  return static_cast<Held*>(found);
}

}  // namespace

void tellCollector(napi_env env, int64_t bytes) {
  int64_t all = 0;
  napi_adjust_external_memory(env, bytes, &all);
}

Allocation::Allocation(Napi::Env env, size_t device, DeviceMemory& memory, int64_t bytes)
    : env_(env), device_(device), memory_(memory), bytes_(bytes), data_(static_cast<char*>(memory.allocate(bytes))) {
  tellCollector(env_, bytes_);
  inUse().add(device_, bytes_);
}

Allocation::~Allocation() {
  memory_.free(data_);
  tellCollector(env_, -bytes_);
  inUse().add(device_, -bytes_);
}

int64_t bytesInUse(size_t device) { return inUse().add(device, 0); }

Napi::Value toHandle(Napi::Env env, Held allocation) {
  const Napi::Object handle = Napi::Object::New(env);
  auto held = std::make_unique<Held>(std::move(allocation));
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Held*>(data); };
  if (napi_wrap(env, handle, held.get(), finalize, nullptr, nullptr) != napi_ok) throw Napi::Error::New(env);
  held.release();
  if (napi_type_tag_object(env, handle, &kTag) != napi_ok) throw Napi::Error::New(env);
  return handle;
}

bool isHandle(Napi::Env env, napi_value value) {
  napi_valuetype type;
  bool isTagged = false;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_object) return false;
  return napi_check_object_type_tag(env, value, &kTag, &isTagged) == napi_ok && isTagged;
}

Held heldBy(Napi::Env env, napi_value handle) {
  Held held = *find(env, handle);
  if (held) return held;
  Napi::Error error = Napi::Error::New(env, "The memory of a device tensor was freed by dispose()");
  error.Value().Set("code", "ERR_TILEWISE_DISPOSED");
  throw error;
}

void release(Napi::Env env, napi_value handle) { find(env, handle)->reset(); }

}  // namespace tilewise
