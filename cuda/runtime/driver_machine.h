// DriverMachine: a GPU behind the CUDA driver, as cuda/machine/machine.h wants one.
// Reader: someone who follows a launch down to the driver.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "heap.h"
#include "loaded_kernels.h"
#include "lane.h"

namespace tilewise::cuda {

// Lives as long as the process. The first use of its memory or queues makes the context, not the constructor.
class DriverMachine final : public cuda::Machine {
 public:
  DriverMachine(const Driver& driver, int ordinal, const Images& images)
      : device_(driver, ordinal), heap_(device_), kernels_(device_, images) {}

  const std::string& name() const { return device_.name(); }
  const cuda::Limits& limits() const override { return device_.limits(); }
  std::unique_ptr<cuda::Queue> queue() override;
  void* allocate(int64_t bytes) override;
  void free(void* data) noexcept override;

 private:
  friend class DriverQueue;
  // A lane comes back to those that are idle.
  struct Return {
    DriverMachine* machine;
    void operator()(Lane* lane) const;
  };
  using LentLane = std::unique_ptr<Lane, Return>;
  LentLane takeLane();

  Device device_;
  Heap heap_;
  LoadedKernels kernels_;
  std::mutex mutex_;
  std::vector<Lane*> idle_;
};

}  // namespace tilewise::cuda
