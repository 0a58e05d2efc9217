// NotingQueue: a queue that notes what it is asked to launch and runs nothing; its memory is only addresses, so that a
// call may be larger than any machine. Reader: someone who checks launches without a GPU.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "../../../core/op/backend.h"
#include "../../../cuda/machine/machine.h"

namespace tilewise {

struct NotedLaunch {
  std::string module, kernel;
  uint32_t blocks, threads, sharedBytes;
  std::vector<char> params;
};

class NotingQueue final : public cuda::Queue {
 public:
  std::vector<NotedLaunch> launches;
  bool hasAllocated = false;

  // After `most` launches the call is cancelled.
  explicit NotingQueue(size_t most = 64) : most_(most) {}
  const CancelFlag& cancel() const { return cancel_; }

  void* allocate(int64_t bytes) override {
    hasAllocated = true;
    char* const data = next_;
    next_ += (bytes + 256) / 256 * 256;
    return data;
  }
  void upload(void*, const void*, int64_t) override {}
  void download(void*, const void*, int64_t) override {}
  void launch(const cuda::Launch& l) override {
    const char* const params = static_cast<const char*>(l.params);
    launches.push_back({l.module, l.kernel, l.blocks, l.threads, l.sharedBytes, {params, params + l.paramBytes}});
    cancel_ = launches.size() >= most_;
  }
  void wait() override {}

 private:
  size_t most_;
  CancelFlag cancel_{false};
  char* next_ = reinterpret_cast<char*>(uintptr_t(1) << 40);
};

}  // namespace tilewise
