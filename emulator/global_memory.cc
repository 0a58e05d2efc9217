// Global memory: allocations, and accesses by primitives. What kernels touch by plain C++ only sanitizers see.
#include "global_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <string>

#include "block.h"
#include "errors.h"
#include "shared_memory.h"

namespace tilewise::emulator {
namespace {

constexpr size_t kAlignment = 256;

std::atomic<uint64_t> generations{0};

// The allocation a worker used last: it will mostly use it again.
struct Remembered {
  uint64_t generation = 0;
  uintptr_t begin = 0, end = 0;
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
  const auto begin = reinterpret_cast<uintptr_t>(data);
  if (remembered.generation == generation_ && begin >= remembered.begin && begin + bytes <= remembered.end) return true;
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  auto next = sizes_.upper_bound(begin);
  if (next == sizes_.begin()) return false;
  const auto& [start, size] = *--next;
  remembered = {generation_, start, start + size};
  return begin + bytes <= start + size;
}

TW_OPERATION void checkGlobal(const void* address, uint32_t bytes, Access access) {
  const char* operation = access == Access::read ? "ld.global" : "st.global";
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
    fail(std::string(operation) + ": misaligned @" + sourceLine(TW_WHERE));
  }
  const Memory* memory = block().options.memory;
  if (memory != nullptr && !memory->contains(address, bytes)) {
    fail(std::string(operation) + ": outside every allocation @" + sourceLine(TW_WHERE));
  }
}

}  // namespace tilewise::emulator
