// See machine.h.

#include "driver_machine.h"

#include "../../core/op/backend.h"

namespace tilewise::cuda {

class DriverQueue final : public cuda::Queue {
 public:
  explicit DriverQueue(DriverMachine& machine)
      : machine_(machine), device_(machine.device_), lane_(machine.takeLane()) {}

  ~DriverQueue() override {
    if (isBusy_) lane_->settle();
    for (void* data : blocks_) machine_.heap_.free(data, lane_->stream());
  }

  void* allocate(int64_t bytes) override {
    const Current current(device_);
    blocks_.reserve(blocks_.size() + 1);
    blocks_.push_back(machine_.heap_.allocate(bytes, lane_->stream()));
    return blocks_.back();
  }

  void upload(void* to, const void* from, int64_t bytes) override {
    const Current current(device_);
    isBusy_ = true;
    lane_->upload(to, from, bytes);
  }

  void download(void* to, const void* from, int64_t bytes) override {
    const Current current(device_);
    isBusy_ = true;
    lane_->download(to, from, bytes);
  }

  void launch(const cuda::Launch& launch) override {
    const Current current(device_);
    const Function function = machine_.kernels_.find(launch.module, launch.kernel, launch.sharedBytes);
    isBusy_ = true;
    void* params[] = {const_cast<void*>(launch.params)};
    const Result result = device_.api().cuLaunchKernel(function, launch.blocks, 1, 1, launch.threads, 1, 1,
                                                       launch.sharedBytes, lane_->stream(), params, nullptr);
    device_.check(result, "cuLaunchKernel", result == Result::success ? std::string() : describe(launch));
    last_ = launch.kernel;
  }

  void wait() override {
    const Current current(device_);
    lane_->wait(last_.empty() ? last_ : "the last kernel launched was " + last_);
    isBusy_ = false;
  }

 private:
  static std::string describe(const cuda::Launch& launch) {
    return std::string(launch.kernel) + " with " + std::to_string(launch.blocks) + " blocks of " +
           std::to_string(launch.threads) + " threads and " + std::to_string(launch.sharedBytes) +
           " bytes of shared memory";
  }

  DriverMachine& machine_;
  Device& device_;
  DriverMachine::LentLane lane_;
  std::vector<void*> blocks_;
  std::string last_;  // kernel launched
  bool isBusy_ = false;  // something was put on the stream and not waited for
};

std::unique_ptr<cuda::Queue> DriverMachine::queue() { return std::make_unique<DriverQueue>(*this); }

void* DriverMachine::allocate(int64_t bytes) {
  const Current current(device_);
  const LentLane lane = takeLane();
  void* data = heap_.allocate(bytes, lane->stream());
  lane->wait();  // from here on every stream may use it
  return data;
}

void DriverMachine::free(void* data) noexcept {
  if (!data) return;
  try {
    heap_.free(data, takeLane()->stream());
  } catch (const BackendError&) {
    heap_.free(data, nullptr);  // no stream to be had: the context is lost, and the heap will find that out too
  }
}

DriverMachine::LentLane DriverMachine::takeLane() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      Lane* lane = idle_.back();
      idle_.pop_back();
      return {lane, Return{this}};
    }
  }
  const Current current(device_);
  return {new Lane(device_), Return{this}};
}

void DriverMachine::Return::operator()(Lane* lane) const {
  const std::lock_guard<std::mutex> lock(machine->mutex_);
  machine->idle_.push_back(lane);
}

}  // namespace tilewise::cuda
