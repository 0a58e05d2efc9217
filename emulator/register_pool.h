// RegisterPool: what setmaxnreg moves between the warpgroups of a block. PTX ISA, "setmaxnreg".
// Knows no registers; their number alone. Reader: whoever executes setmaxnreg, on either machine of this folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tilewise::emulator {

class RegisterPool {
 public:
  explicit RegisterPool(uint32_t threads);

  // A warp asks for so many registers a thread, more than it had or fewer. Returns what is wrong, or nothing.
  std::string set(uint32_t warp, uint32_t registers, bool isMore);
  // At the end of the block: whether all warps of each warpgroup have asked alike.
  std::string faultAtEnd() const;

 private:
  struct Asked {
    uint32_t registers;
    bool isMore;
  };
  uint32_t perThread_;  // that a launch of so many threads may have
  std::vector<std::vector<Asked>> warpgroups_;
  std::vector<size_t> counts_;  // of what each warp has asked
};

}  // namespace tilewise::emulator
