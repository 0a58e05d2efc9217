// See heap.h.

#include "heap.h"

#include <algorithm>

#include "../../core/op/backend.h"

namespace tilewise::cuda {
namespace {

// What the pool keeps when calls are over, so that the next ones need not ask the system. Not measured.
constexpr uint64_t kKeptBytes = uint64_t(1) << 30;

}  // namespace

// The device's default pool, which other libraries of the process share. Only this sets how much it keeps, if they did
// not ask for more.
Pool Heap::pool() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (pool_) return pool_;
  const Api& api = device_.api();
  Pool pool = nullptr;
  device_.check(api.cuDeviceGetDefaultMemPool(&pool, device_.handle()), "cuDeviceGetDefaultMemPool");
  uint64_t kept = 0;
  device_.check(api.cuMemPoolGetAttribute(pool, kPoolReleaseThreshold, &kept), "cuMemPoolGetAttribute");
  kept = std::max(kept, kKeptBytes);
  device_.check(api.cuMemPoolSetAttribute(pool, kPoolReleaseThreshold, &kept), "cuMemPoolSetAttribute");
  return pool_ = pool;
}

Result Heap::take(Address& address, size_t bytes, Stream stream) {
  const Api& api = device_.api();
  if (!device_.hasPools()) return api.cuMemAlloc(&address, bytes);
  const Pool from = pool();
  const Result result = api.cuMemAllocAsync(&address, bytes, stream);
  if (result != Result::outOfMemory) return result;
  // What freed blocks the pool keeps may be in pieces: give them back, and ask for one.
  device_.check(api.cuStreamSynchronize(stream), "cuStreamSynchronize");
  device_.check(api.cuMemPoolTrimTo(from, 0), "cuMemPoolTrimTo");
  return api.cuMemAllocAsync(&address, bytes, stream);
}

void* Heap::allocate(int64_t bytes, Stream stream) {
  const size_t size = size_t(std::max<int64_t>(bytes, 1));
  Address address = 0;
  const Result result = take(address, size, stream);
  device_.check(
      result, device_.hasPools() ? "cuMemAllocAsync" : "cuMemAlloc",
      result == Result::success ? std::string() : std::to_string(bytes) + " bytes were asked for on " + device_.name());
  return reinterpret_cast<void*>(uintptr_t(address));
}

void Heap::free(void* data, Stream stream) noexcept {
  try {
    const Current current(device_);
    const Api& api = device_.api();
    const Address address = uintptr_t(data);
    device_.note(device_.hasPools() ? api.cuMemFreeAsync(address, stream) : api.cuMemFree(address), "cuMemFree");
  } catch (const BackendError&) {
    // The context is lost or the driver has shut down: the memory is gone already.
  }
}

}  // namespace tilewise::cuda
