// HostMachine: a machine whose device is the host's own memory, so that the CPU can run what would be launched and a
// sanitizer sees every byte. Reader: someone who checks what the backend does around launches.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "../../../cuda/machine/machine.h"

namespace tilewise {

class HostMachine final : public cuda::Machine {
 public:
  int64_t uploaded = 0, downloaded = 0;  // bytes, by all queues

  const cuda::Limits& limits() const override { return limits_; }
  std::unique_ptr<cuda::Queue> queue() override { return std::make_unique<HostQueue>(*this); }
  // Of the exact size, and full of what no test expects.
  void* allocate(int64_t bytes) override {
    const size_t size = size_t(bytes > 0 ? bytes : 1);
    std::unique_ptr<char[]> block(new char[size]);
    std::memset(block.get(), 0xa5, size);
    void* data = block.get();
    blocks_[static_cast<char*>(data)] = {std::move(block), size};
    return data;
  }
  void free(void* data) noexcept override { blocks_.erase(static_cast<char*>(data)); }
  // Whether it is inside memory that allocate() gave.
  bool owns(const void* data) const {
    const auto after = blocks_.upper_bound(static_cast<const char*>(data));
    if (after == blocks_.begin()) return false;
    const auto& [first, block] = *std::prev(after);
    return static_cast<const char*>(data) < first + block.bytes;
  }
  size_t blocks() const { return blocks_.size(); }

 private:
  struct Block {
    std::unique_ptr<char[]> data;
    size_t bytes;
  };

  class HostQueue final : public cuda::Queue {
   public:
    explicit HostQueue(HostMachine& machine) : machine_(machine) {}
    ~HostQueue() override {
      for (void* data : allocated_) machine_.free(data);
    }
    void* allocate(int64_t bytes) override {
      allocated_.push_back(machine_.allocate(bytes));
      return allocated_.back();
    }
    void upload(void* to, const void* from, int64_t bytes) override {
      machine_.uploaded += bytes;
      std::memcpy(to, from, size_t(bytes));
    }
    // Only wait() makes results appear.
    void download(void* to, const void* from, int64_t bytes) override {
      machine_.downloaded += bytes;
      pending_.push_back({to, from, size_t(bytes)});
    }
    void launch(const cuda::Launch&) override {}
    void wait() override {
      for (const Copy& copy : pending_) std::memcpy(copy.to, copy.from, copy.bytes);
      pending_.clear();
    }

   private:
    struct Copy {
      void* to;
      const void* from;
      size_t bytes;
    };
    HostMachine& machine_;
    std::vector<void*> allocated_;
    std::vector<Copy> pending_;
  };

  cuda::Limits limits_{80, 1, 100 << 10};
  std::map<const char*, Block> blocks_;
};

}  // namespace tilewise
