// Lane: a stream, and the pinned memory through which data of the host passes on its way to and from the GPU.
// Reader: someone who follows bytes across the bus. One thread at a time, with a Current alive; lanes are reused from
// call to call and never destroyed.
#pragma once

#include <vector>

#include "device.h"

namespace tilewise::cuda {

class Lane {
 public:
  explicit Lane(Device& device);

  Stream stream() const { return stream_; }
  void upload(void* to, const void* from, int64_t bytes);    // `from` may change when it returns
  void download(void* to, const void* from, int64_t bytes);  // done after wait()
  void wait(const std::string& detail = {});
  // Waits whatever happened, and forgets downloads that nobody waited for. No Current needed.
  void settle() noexcept;

 private:
  struct Delivery {
    void* to;
    const char* from;
    size_t bytes;
  };
  // Filled from the front; everything in it is in flight until its event has come, or the stream was waited for.
  struct Block {
    char* data = nullptr;
    Event passed = nullptr;
    size_t used = 0;
    std::vector<Delivery> deliveries;
  };

  // Some room in the current block, at most `bytes`; waits for the other block when this one is full.
  char* room(int64_t bytes, size_t& got);
  static void deliver(Block& block);

  Device& device_;
  Stream stream_ = nullptr;
  Block blocks_[2];
  int current_ = 0;
};

}  // namespace tilewise::cuda
