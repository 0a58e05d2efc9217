// Allocations of an emulated device: aligned and poisoned, and known, so that stray accesses are found.
// Reader: the emulated Machine.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <shared_mutex>

namespace tilewise::emulator {

class Memory {
 public:
  Memory() = default;
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void* allocate(int64_t bytes);  // aligned to 256 bytes
  void free(void* data) noexcept;
  bool contains(const void* data, size_t bytes) const;  // all of it within one allocation

 private:
  mutable std::shared_mutex mutex_;
  std::map<uintptr_t, size_t> sizes_;
  std::atomic<uint64_t> generation_{0};  // never the same twice in a process: invalidates what threads remember
};

}  // namespace tilewise::emulator
