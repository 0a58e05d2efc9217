// The first GPU of the driver as device.h wants it, with the images of kernels/ beside the program. Ends the program,
// as one that had nothing to do, where there is no GPU.
#include <cstdlib>

#include "../../../core/base/platform.h"
#include "../../../cuda/runtime/library.h"
#include "../../../cuda/runtime/driver_machine.h"
#include "device.h"

namespace tilewise {
namespace {

cuda::Machine& machine() {
  static cuda::Machine& first = []() -> cuda::Machine& {
    const cuda::Driver& driver = cuda::driver();
    if (driver.code) {
      std::printf("left out, no GPU: %s\n", driver.reason.c_str());
      std::exit(0);
    }
    return *new cuda::DriverMachine(driver, 0, *new cuda::Images(cuda::ownFolder() / "kernels"));
  }();
  return first;
}

class Limited final : public cuda::Machine {
 public:
  explicit Limited(const cuda::Limits& limits) : limits_(machine().limits()) {
    limits_.multiprocessors = limits.multiprocessors;  // only a hint at how finely to divide work
    limits_.sharedBytesPerBlock = smaller(limits.sharedBytesPerBlock, limits_.sharedBytesPerBlock);
  }
  const cuda::Limits& limits() const override { return limits_; }
  std::unique_ptr<cuda::Queue> queue() override { return machine().queue(); }
  void* allocate(int64_t bytes) override { return machine().allocate(bytes); }
  void free(void* data) noexcept override { machine().free(data); }

 private:
  cuda::Limits limits_;
};

}  // namespace

std::unique_ptr<cuda::Machine> makeCheckedMachine(const std::string&, const cuda::Limits& limits) {
  return std::make_unique<Limited>(limits);
}

}  // namespace tilewise
