// Accesses to global memory by primitives. What kernels touch by plain C++ only sanitizers see.
#include <string>

#include "block.h"
#include "errors.h"
#include "global_memory.h"

namespace tilewise::emulator {

TW_OPERATION void checkGlobal(const void* address, uint32_t bytes, Access access) {
  const char* operation = access == Access::read ? "ld.global" : "st.global";
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
    fail(std::string(operation) + ": misaligned @" + sourceLine(TW_WHERE));
  }
  const Memory* memory = block().options.memory;
  if (memory != nullptr && !memory->contains(address, bytes)) {
    fail(std::string(operation) + ": outside every allocation @" + sourceLine(TW_WHERE));
  }
}

}  // namespace tilewise::emulator
