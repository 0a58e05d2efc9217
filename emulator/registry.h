// The kernels that were compiled for the emulator, by module and name.
// Reader: whoever launches one by name, as a Machine does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tilewise::emulator {

struct Kernel {
  const char* name;
  std::string module;  // the name of its source file
  uint32_t threads;
  size_t paramBytes;
  void (*run)(const void* params);  // as one thread
};

// Null where there is none.
const Kernel* findKernel(const std::string& module, const std::string& name);

// Called before main, by the variables that TW_KERNEL defines. `source` is the path of a file, whose stem is the
// module.
class Registration {
 public:
  Registration(const char* source, const char* name, uint32_t threads, size_t paramBytes, void (*run)(const void*));
};

}  // namespace tilewise::emulator
