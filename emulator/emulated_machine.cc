// Machine and Queue over the emulator.
#include "emulated_machine.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "../core/op/backend.h"
#include "global_memory.h"
#include "registry.h"

namespace tilewise::emulator {
namespace {

constexpr const char* kErrorCode = "ERR_TILEWISE_DEVICE";

class EmulatedQueue : public cuda::Queue {
 public:
  EmulatedQueue(const MachineOptions& options, Memory& memory) : options_(options), memory_(memory) {}
  ~EmulatedQueue() override {
    deliver();
    for (void* data : allocations_) memory_.free(data);
  }

  void* allocate(int64_t bytes) override {
    allocations_.push_back(memory_.allocate(bytes));
    return allocations_.back();
  }

  void upload(void* to, const void* from, int64_t bytes) override {
    requireOwned(to, bytes, "upload");
    std::copy_n(static_cast<const uint8_t*>(from), bytes, static_cast<uint8_t*>(to));
  }

  void download(void* to, const void* from, int64_t bytes) override {
    requireOwned(from, bytes, "download");
    const auto* data = static_cast<const uint8_t*>(from);
    downloads_.push_back({to, std::vector<uint8_t>(data, data + bytes)});
    std::fill_n(static_cast<uint8_t*>(to), bytes, uint8_t(0xff));
  }

  void launch(const cuda::Launch& launch) override {
    const Kernel& kernel = checked(launch);
    // A copy, aligned as parameters are on the device.
    alignas(64) uint8_t params[4096];
    std::memcpy(params, launch.params, launch.paramBytes);
    try {
      emulator::launch({launch.blocks, launch.threads, launch.sharedBytes}, options_.emulator,
                       [&] { kernel.run(params); });
    } catch (const Error& error) {
      throw BackendError(kErrorCode, kernel.module + "/" + kernel.name + ": " + error.what());
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
    if (!memory_.contains(data, size_t(bytes))) {
      throw BackendError(kErrorCode, std::string(what) + ": not inside one allocation of the device");
    }
  }

  // What the driver would refuse, and what it would not notice.
  const Kernel& checked(const cuda::Launch& launch) const {
    const std::string name = std::string(launch.module) + "/" + launch.kernel;
    const Kernel* kernel = findKernel(launch.module, launch.kernel);
    if (kernel == nullptr) throw BackendError(kErrorCode, "there is no kernel " + name);
    const auto require = [&](bool isMet, const std::string& what) {
      if (!isMet) throw BackendError(kErrorCode, name + ": " + what);
    };
    require(launch.threads == kernel->threads, "launched with " + std::to_string(launch.threads) +
                                                   " threads, declared with " + std::to_string(kernel->threads));
    require(launch.paramBytes == kernel->paramBytes, "launched with " + std::to_string(launch.paramBytes) +
                                                         " bytes of parameters, declared with " +
                                                         std::to_string(kernel->paramBytes));
    require(launch.sharedBytes <= options_.limits.sharedBytesPerBlock,
            std::to_string(launch.sharedBytes) + " bytes of shared memory");
    return *kernel;
  }

  const MachineOptions& options_;
  Memory& memory_;
  std::vector<void*> allocations_;
  std::vector<Download> downloads_;
};

class EmulatedMachine : public cuda::Machine {
 public:
  explicit EmulatedMachine(const MachineOptions& options) : options_(options) { options_.emulator.memory = &memory_; }

  const cuda::Limits& limits() const override { return options_.limits; }
  std::unique_ptr<cuda::Queue> queue() override { return std::make_unique<EmulatedQueue>(options_, memory_); }
  void* allocate(int64_t bytes) override { return memory_.allocate(bytes); }
  void free(void* data) noexcept override { memory_.free(data); }

 private:
  MachineOptions options_;
  Memory memory_;
};

}  // namespace

std::unique_ptr<cuda::Machine> makeMachine(const MachineOptions& options) {
  return std::make_unique<EmulatedMachine>(options);
}

}  // namespace tilewise::emulator
