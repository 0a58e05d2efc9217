// Global memory: the allocations of a device.
#include "global_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <new>

#include "access.h"

namespace tilewise::emulator {
namespace {

constexpr size_t kAlignment = 256;

std::atomic<uint64_t> generations{0};

// The allocation a worker used last: it will mostly use it again.
struct Remembered {
  uint64_t generation = 0;
  Memory::Allocation allocation;
};
thread_local Remembered remembered;

}  // namespace

Memory::~Memory() {
  for (const auto& [address, bytes] : sizes_) std::free(reinterpret_cast<void*>(address));
}

void* Memory::allocate(int64_t bytes) {
  void* data = nullptr;
  // Not rounded up: a sanitizer is to see where it ends.
  const size_t size = std::max(size_t(bytes), size_t(1));
  if (posix_memalign(&data, kAlignment, size) != 0) throw std::bad_alloc();
  std::memset(data, kPoison, size);
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  sizes_[reinterpret_cast<uintptr_t>(data)] = size;
  generation_ = ++generations;
  return data;
}

void Memory::free(void* data) noexcept {
  if (data == nullptr) return;
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  sizes_.erase(reinterpret_cast<uintptr_t>(data));
  generation_ = ++generations;
  std::free(data);
}

bool Memory::contains(const void* data, size_t bytes) const {
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uint64_t generation = generation_;
  if (remembered.generation == generation && remembered.allocation.contains(address, bytes)) return true;
  remembered = {generation, before(address)};
  return remembered.allocation.contains(address, bytes);
}

Memory::Allocation Memory::before(uintptr_t address) const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  const auto next = sizes_.upper_bound(address);
  if (next == sizes_.begin()) return {};
  const auto& [begin, size] = *std::prev(next);
  return {begin, begin + size};
}

std::vector<Memory::Allocation> Memory::allocations() const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  std::vector<Allocation> all;
  for (const auto& [begin, size] : sizes_) all.push_back({begin, begin + size});
  return all;
}

}  // namespace tilewise::emulator
