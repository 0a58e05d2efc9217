// Machine and Queue on this process.
#include "local_machine.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "../core/op/backend.h"
#include "global_memory.h"

namespace tilewise::emulator {
namespace {

constexpr const char* kErrorCode = "ERR_TILEWISE_DEVICE";

// What the queues of a machine share.
struct Device {
  MachineOptions options;
  FindKernel find;
  Memory memory;
  std::mutex mutex;

  // Held while a queue touches memory.
  std::unique_lock<std::mutex> turn() {
    return options.isExclusive ? std::unique_lock<std::mutex>(mutex) : std::unique_lock<std::mutex>();
  }
};

class LocalQueue : public cuda::Queue {
 public:
  explicit LocalQueue(Device& device) : device_(device) {}
  ~LocalQueue() override {
    deliver();
    const auto turn = device_.turn();
    for (void* data : allocations_) device_.memory.free(data);
  }

  void* allocate(int64_t bytes) override {
    const auto turn = device_.turn();
    allocations_.push_back(device_.memory.allocate(bytes));
    return allocations_.back();
  }

  void upload(void* to, const void* from, int64_t bytes) override {
    const auto turn = device_.turn();
    requireOwned(to, bytes, "upload");
    std::copy_n(static_cast<const uint8_t*>(from), bytes, static_cast<uint8_t*>(to));
  }

  void download(void* to, const void* from, int64_t bytes) override {
    const auto turn = device_.turn();
    requireOwned(from, bytes, "download");
    const auto* data = static_cast<const uint8_t*>(from);
    downloads_.push_back({to, std::vector<uint8_t>(data, data + bytes)});
    std::fill_n(static_cast<uint8_t*>(to), bytes, uint8_t(0xff));
  }

  void launch(const cuda::Launch& launch) override {
    const std::string name = std::string(launch.module) + "/" + launch.kernel;
    // A copy, aligned as parameters are on the device.
    alignas(64) uint8_t params[4096];
    try {
      const LocalKernel kernel = device_.find(launch.module, launch.kernel);
      check(launch, kernel, name);
      const auto turn = device_.turn();
      std::memcpy(params, launch.params, launch.paramBytes);
      kernel.run({launch.blocks, launch.threads, launch.sharedBytes}, device_.options.emulator, params);
    } catch (const Error& error) {
      throw BackendError(kErrorCode, name + ": " + error.what());
    }
  }

  void wait() override { deliver(); }

 private:
  struct Download {
    void* to;
    std::vector<uint8_t> data;
  };

  void deliver() {
    for (const Download& d : downloads_) std::copy(d.data.begin(), d.data.end(), static_cast<uint8_t*>(d.to));
    downloads_.clear();
  }

  void requireOwned(const void* data, int64_t bytes, const char* what) const {
    if (!device_.memory.contains(data, size_t(bytes))) {
      throw BackendError(kErrorCode, std::string(what) + ": not inside one allocation of the device");
    }
  }

  // What the driver would refuse, and what it would not notice.
  void check(const cuda::Launch& launch, const LocalKernel& kernel, const std::string& name) const {
    if (!kernel.run) throw BackendError(kErrorCode, "there is no kernel " + name);
    const auto require = [&](bool isMet, const std::string& what) {
      if (!isMet) throw BackendError(kErrorCode, name + ": " + what);
    };
    require(launch.threads == kernel.threads, "launched with " + std::to_string(launch.threads) +
                                                  " threads, declared with " + std::to_string(kernel.threads));
    require(launch.paramBytes == kernel.paramBytes, "launched with " + std::to_string(launch.paramBytes) +
                                                        " bytes of parameters, declared with " +
                                                        std::to_string(kernel.paramBytes));
    require(launch.sharedBytes <= device_.options.limits.sharedBytesPerBlock,
            std::to_string(launch.sharedBytes) + " bytes of shared memory");
  }

  Device& device_;
  std::vector<void*> allocations_;
  std::vector<Download> downloads_;
};

class LocalMachine : public cuda::Machine {
 public:
  LocalMachine(const MachineOptions& options, FindKernel find) {
    device_.options = options;
    device_.options.emulator.memory = &device_.memory;
    device_.find = std::move(find);
  }

  const cuda::Limits& limits() const override { return device_.options.limits; }
  std::unique_ptr<cuda::Queue> queue() override { return std::make_unique<LocalQueue>(device_); }
  void* allocate(int64_t bytes) override {
    const auto turn = device_.turn();
    return device_.memory.allocate(bytes);
  }
  void free(void* data) noexcept override {
    const auto turn = device_.turn();
    device_.memory.free(data);
  }

 private:
  Device device_;
};

}  // namespace

std::unique_ptr<cuda::Machine> makeLocalMachine(const MachineOptions& options, FindKernel find) {
  return std::make_unique<LocalMachine>(options, std::move(find));
}

}  // namespace tilewise::emulator
