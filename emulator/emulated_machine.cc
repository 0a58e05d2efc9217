// The kernels of the registry, every thread a fiber.
#include "emulated_machine.h"

#include "registry.h"

namespace tilewise::emulator {

LocalKernel findEmulated(const std::string& module, const std::string& name) {
  const Kernel* kernel = findKernel(module, name);
  if (kernel == nullptr) return {};
  return {kernel->threads, kernel->paramBytes, [kernel](const Grid& grid, const Options& options, const void* params) {
            launch(grid, options, [&] { kernel->run(params); });
          }};
}

std::unique_ptr<cuda::Machine> makeMachine(const MachineOptions& options) {
  return makeLocalMachine(options, findEmulated);
}

}  // namespace tilewise::emulator
