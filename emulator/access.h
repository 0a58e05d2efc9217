// Addresses of shared memory, and what fills memory that nothing was written to.
// Reader: every operation that touches memory, on either machine of this folder.
#pragma once

#include <cstdint>

namespace tilewise::emulator {

constexpr uint32_t kSharedBase = 1024;  // as on sm_90: the first KiB is the system's
constexpr uint8_t kPoison = 0xff;       // not a number in every format

enum class Access { read, write };

}  // namespace tilewise::emulator
