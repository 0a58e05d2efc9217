// PTX on the processor: parses what nvcc wrote and runs its kernels, a warp of 32 lanes at a time.
// What is not known is refused by name and line, never guessed; what goes wrong in a kernel is thrown as an
// emulator::Error that names the thread, the line of the kernel's source and the line of the PTX. README.md says more.
// Reader: whoever launches kernels from PTX, such as a test of one opcode.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "../emulator.h"

namespace tilewise::ptx {

struct Kernel;
struct Source;

struct Declaration {
  uint32_t threads = 0;  // of a block; 0 where the kernel does not say (.maxntid)
  uint32_t paramBytes = 0;
  struct Param {
    uint32_t offset, bytes;
  };
  std::vector<Param> params;  // in order
};

class Module {
 public:
  // Throws where the text has anything outside kernels that is not known. Kernels are read when they are first used.
  explicit Module(std::string text);
  ~Module();

  std::vector<std::string> kernels() const;
  bool has(const std::string& kernel) const;
  const Declaration& declaration(const std::string& kernel) const;

  // Runs the kernel. `params`: paramBytes bytes, each parameter at its offset. Global memory is that of options.memory;
  // without it, its accesses are not checked.
  void launch(const std::string& kernel, const emulator::Grid& grid, const emulator::Options& options,
              const void* params) const;

 private:
  const Kernel& read(const std::string& kernel) const;

  std::unique_ptr<Source> source_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::unique_ptr<Kernel>> read_;
};

// An opcode that is known, with all its modifiers, and one form of its operands: see opcodes.h.
struct KnownOpcode {
  std::string_view name, operands;
};
std::vector<KnownOpcode> knownOpcodes();

}  // namespace tilewise::ptx
