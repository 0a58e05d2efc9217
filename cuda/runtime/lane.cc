// See lane.h.

#include "lane.h"

#include <algorithm>
#include <cstring>

#include "../../core/op/backend.h"

namespace tilewise::cuda {
namespace {

// Two blocks: one is copied by the processor while the other is on the bus. Not measured.
constexpr size_t kBlockBytes = size_t(4) << 20;
constexpr size_t kAlignment = 256;

}  // namespace

// Not the legacy stream, and not synchronised with it: other libraries' work is none of ours.
Lane::Lane(Device& device) : device_(device) {
  device_.check(device_.api().cuStreamCreate(&stream_, kStreamNonBlocking), "cuStreamCreate");
}

char* Lane::room(int64_t bytes, size_t& got) {
  const Api& api = device_.api();
  if (blocks_[current_].used == kBlockBytes) {
    device_.check(api.cuEventRecord(blocks_[current_].passed, stream_), "cuEventRecord");
    current_ ^= 1;
    Block& other = blocks_[current_];
    if (other.used > 0) device_.check(api.cuEventSynchronize(other.passed), "cuEventSynchronize");
    deliver(other);
  }
  Block& block = blocks_[current_];
  if (!block.passed) device_.check(api.cuEventCreate(&block.passed, kEventDisableTiming), "cuEventCreate");
  if (!block.data) {
    void* data = nullptr;
    device_.check(api.cuMemHostAlloc(&data, kBlockBytes, kHostPortable), "cuMemHostAlloc");
    block.data = static_cast<char*>(data);
  }
  got = std::min(size_t(bytes), kBlockBytes - block.used);
  char* at = block.data + block.used;
  block.used = std::min(kBlockBytes, (block.used + got + kAlignment - 1) / kAlignment * kAlignment);
  return at;
}

void Lane::deliver(Block& block) {
  for (const Delivery& delivery : block.deliveries) std::memcpy(delivery.to, delivery.from, delivery.bytes);
  block.deliveries.clear();
  block.used = 0;
}

void Lane::upload(void* to, const void* from, int64_t bytes) {
  auto target = reinterpret_cast<uintptr_t>(to);
  auto source = static_cast<const char*>(from);
  while (bytes > 0) {
    size_t count = 0;
    char* pinned = room(bytes, count);
    std::memcpy(pinned, source, count);
    device_.check(device_.api().cuMemcpyHtoDAsync(target, pinned, count, stream_), "cuMemcpyHtoDAsync");
    target += count;
    source += count;
    bytes -= int64_t(count);
  }
}

void Lane::download(void* to, const void* from, int64_t bytes) {
  auto target = static_cast<char*>(to);
  auto source = reinterpret_cast<uintptr_t>(from);
  while (bytes > 0) {
    size_t count = 0;
    char* pinned = room(bytes, count);
    device_.check(device_.api().cuMemcpyDtoHAsync(pinned, source, count, stream_), "cuMemcpyDtoHAsync");
    blocks_[current_].deliveries.push_back({target, pinned, count});
    target += count;
    source += count;
    bytes -= int64_t(count);
  }
}

void Lane::wait(const std::string& detail) {
  device_.check(device_.api().cuStreamSynchronize(stream_), "cuStreamSynchronize", detail);
  // The older block first: of two downloads to one place the later one counts.
  deliver(blocks_[current_ ^ 1]);
  deliver(blocks_[current_]);
}

void Lane::settle() noexcept {
  try {
    const Current current(device_);
    device_.note(device_.api().cuStreamSynchronize(stream_), "cuStreamSynchronize");
  } catch (const BackendError&) {
    // The context is lost or the driver has shut down: nothing is running any more.
  }
  for (Block& block : blocks_) {
    block.deliveries.clear();
    block.used = 0;
  }
}

}  // namespace tilewise::cuda
