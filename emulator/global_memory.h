// Allocations of an emulated device: aligned and poisoned, and known, so that stray accesses are found.
// Reader: the emulated Machine.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <shared_mutex>
#include <vector>

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

  struct Allocation {
    uintptr_t begin = 1, end = 0;
    // Near the end of all addresses, `address + bytes` is small again.
    bool contains(uintptr_t address, size_t bytes) const {
      return address >= begin && address <= end && bytes <= end - address;
    }
  };
  // The last that begins at the address or before it; one that contains nothing where there is none.
  Allocation before(uintptr_t address) const;
  std::vector<Allocation> allocations() const;

 private:
  mutable std::shared_mutex mutex_;
  std::map<uintptr_t, size_t> sizes_;
  std::atomic<uint64_t> generation_{0};  // never the same twice in a process: invalidates what threads remember
};

}  // namespace tilewise::emulator
