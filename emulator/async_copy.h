// cp.async of one thread. Reader: block.h, async_copy.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tilewise::emulator {

struct AsyncCopies {
  struct Copy {
    uint32_t to;
    const void* from;
    int bytes;
    uint32_t group;
  };
  std::vector<Copy> issued;
  size_t done = 0;         // of those, in order
  uint32_t committed = 0;  // groups
};

}  // namespace tilewise::emulator
