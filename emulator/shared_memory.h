// Reader: every operation that touches shared memory.
#pragma once

#include <cstdint>

namespace tilewise::emulator {

// The bytes behind a shared address; fails where the block has none.
uint8_t* sharedBytes(uint32_t address, uint32_t bytes, const char* operation);

}  // namespace tilewise::emulator
