// LoadedKernels: the functions of one GPU's images, loaded when they are first launched.
// Reader: someone whose kernel is not found. Any thread, with a Current alive.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "device.h"
#include "images.h"

namespace tilewise::cuda {

class LoadedKernels {
 public:
  LoadedKernels(Device& device, const Images& images) : device_(device), images_(images) {}

  // The function, allowed as much dynamic shared memory as asked for. Throws BackendError.
  Function find(const std::string& module, const std::string& kernel, uint32_t sharedBytes);

 private:
  struct Kernel {
    Function function = nullptr;
    uint32_t sharedBytes = 48 << 10;  // what every function may have unasked
  };
  struct LoadedModule {
    Module module = nullptr;
    std::string file;
    std::map<std::string, Kernel> kernels;
  };

  LoadedModule load(const std::string& module);

  Device& device_;
  const Images& images_;
  std::mutex mutex_;
  std::map<std::string, LoadedModule> modules_;
};

}  // namespace tilewise::cuda
