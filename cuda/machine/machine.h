// Machine: what the host side of the kernels needs from a GPU, and no more. The driver is one (cuda/runtime), the
// emulator of the tests another (emulator); what plans launches cannot tell them apart.
// Reader: whoever plans launches, or adds a machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace tilewise::cuda {

struct Limits {
  int32_t computeCapability = 0;  // 80, 90, ...
  int32_t multiprocessors = 0;
  int64_t sharedBytesPerBlock = 0;  // the most a block may ask for
};

constexpr int64_t kMaxBlocks = 0x7fffffff;  // of a launch

// Grids have one dimension: y and z end at 65535, and every peer has met a batch times heads past that.
struct Launch {
  const char* module;  // the image file that holds the kernel, without architecture
  const char* kernel;
  uint32_t blocks = 1;  // 1 to kMaxBlocks
  uint32_t threads = 1;
  uint32_t sharedBytes = 0;
  const void* params = nullptr;  // the kernel's one parameter; copied by the call
  size_t paramBytes = 0;
};

// Work in order, of one call: a stream. Not for several threads at once. Everything throws BackendError.
class Queue {
 public:
  virtual ~Queue() = default;  // waits; then frees what is still allocated
  virtual void* allocate(
      int64_t bytes) = 0;  // aligned to 256 bytes, freed with the queue; 0 bytes give a valid pointer
  virtual void upload(void* to, const void* from, int64_t bytes) = 0;  // `from` may change when it returns
  virtual void download(void* to, const void* from, int64_t bytes) = 0;  // done after wait()
  virtual void launch(const Launch& launch) = 0;
  virtual void wait() = 0;  // reports what failed in between, too
};

class Machine {
 public:
  virtual ~Machine() = default;
  virtual const Limits& limits() const = 0;
  virtual std::unique_ptr<Queue> queue() = 0;
  // Memory that outlives queues. Work of one queue on it must be waited for before another queue uses it.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void free(void* data) noexcept = 0;
};

}  // namespace tilewise::cuda
