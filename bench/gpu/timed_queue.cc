// See timed_queue.h.
#include "timed_queue.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "../../cuda/runtime/library.h"

namespace tilewise::bench {
namespace {

constexpr size_t kCacheBytes = size_t(256) << 20;  // several times the L2 of any card
constexpr int kFlushesAhead = 8;  // keep the card busy while the host puts the first calls on the stream

template <class Function>
Function* entryOf(const char* name) {
  std::string why;
  // The same library as the runtime's, and the same hook for tests.
  const cuda::Library library = cuda::openLibrary(std::getenv("TILEWISE_LIBCUDA"), why);
  void* const entry = library ? cuda::symbolOf(library, name) : nullptr;
  if (!entry) throw std::runtime_error(std::string("the CUDA driver has no ") + name);
  return reinterpret_cast<Function*>(entry);
}

}  // namespace

TimedQueue::TimedQueue(cuda::Device& device, const cuda::Images& images)
    : device_(device),
      api_(device.api()),
      kernels_(device, images),
      elapsed_(entryOf<ElapsedTime>("cuEventElapsedTime")),
      fill_(entryOf<Fill>("cuMemsetD32Async")) {
  const cuda::Current current(device_);
  device_.check(api_.cuStreamCreate(&stream_, cuda::kStreamNonBlocking), "cuStreamCreate");
  device_.check(api_.cuMemAlloc(&cache_, kCacheBytes), "cuMemAlloc");
}

TimedQueue::~TimedQueue() { freeAll(); }

void* TimedQueue::allocate(int64_t bytes) {
  if (next_ < blocks_.size() && blocks_[next_].bytes >= bytes) {
    return reinterpret_cast<void*>(uintptr_t(blocks_[next_++].address));
  }
  if (next_ < blocks_.size()) throw std::logic_error("a call allocates other memory than the one before");
  const cuda::Current current(device_);
  cuda::Address address = 0;
  device_.check(api_.cuMemAlloc(&address, size_t(std::max<int64_t>(bytes, 256))), "cuMemAlloc");
  blocks_.push_back({address, bytes});
  next_ = blocks_.size();
  return reinterpret_cast<void*>(uintptr_t(address));
}

void TimedQueue::upload(void* to, const void* from, int64_t bytes) {
  {
    const cuda::Current current(device_);
    device_.check(api_.cuMemcpyHtoDAsync(reinterpret_cast<uintptr_t>(to), from, size_t(bytes), stream_),
                  "cuMemcpyHtoDAsync");
  }
  wait();
}

void TimedQueue::download(void* to, const void* from, int64_t bytes) {
  {
    const cuda::Current current(device_);
    device_.check(api_.cuMemcpyDtoHAsync(to, reinterpret_cast<uintptr_t>(from), size_t(bytes), stream_),
                  "cuMemcpyDtoHAsync");
  }
  wait();
}

void TimedQueue::launch(const cuda::Launch& launch) {
  const cuda::Current current(device_);
  const cuda::Function function = kernels_.find(launch.module, launch.kernel, launch.sharedBytes);
  void* params[] = {const_cast<void*>(launch.params)};
  device_.check(api_.cuLaunchKernel(function, launch.blocks, 1, 1, launch.threads, 1, 1, launch.sharedBytes, stream_,
                                    params, nullptr),
                "cuLaunchKernel", launch.kernel);
}

void TimedQueue::wait() {
  const cuda::Current current(device_);
  device_.check(api_.cuStreamSynchronize(stream_), "cuStreamSynchronize");
}

void TimedQueue::freeAll() {
  const cuda::Current current(device_);
  for (const Block& block : blocks_) device_.note(api_.cuMemFree(block.address), "cuMemFree");
  blocks_.clear();
  kept_ = next_ = 0;
}

void TimedQueue::flush() {
  const cuda::Current current(device_);
  device_.check(fill_(cache_, 0, kCacheBytes / 4, stream_), "cuMemsetD32Async");
}

Times TimedQueue::time(const std::function<void()>& call, int samples, bool isCold) {
  struct Sample {
    cuda::Event begin = nullptr, end = nullptr;
  };
  static std::vector<Sample> events;
  const auto record = [&](cuda::Event& event) {
    const cuda::Current current(device_);
    if (!event) device_.check(api_.cuEventCreate(&event, 0), "cuEventCreate");
    device_.check(api_.cuEventRecord(event, stream_), "cuEventRecord");
  };
  events.resize(std::max(events.size(), size_t(samples)));
  for (int i = 0; i < 3; ++i) {
    again();
    call();
  }
  wait();
  for (int i = 0; i < kFlushesAhead; ++i) flush();
  for (int i = 0; i < samples; ++i) {
    if (isCold) flush();
    again();
    record(events[size_t(i)].begin);
    call();
    record(events[size_t(i)].end);
  }
  wait();
  std::vector<double> all;
  for (int i = 0; i < samples; ++i) {
    const cuda::Current current(device_);
    float milliseconds = 0;
    device_.check(elapsed_(&milliseconds, events[size_t(i)].begin, events[size_t(i)].end), "cuEventElapsedTime");
    all.push_back(milliseconds);
  }
  std::sort(all.begin(), all.end());
  return {all[all.size() / 2], all.front(), all.back()};
}

}  // namespace tilewise::bench
