// Huge pages of the operating system, for memory that attention reads again and again: finding where an address is
// takes less of the time. Reader: someone who allocates for a cache. Where the system refuses, all stays as it is.
#pragma once

#include <cstdint>

namespace tilewise {

// Asks for huge pages where memory has not been touched yet. Linux has them on demand; elsewhere nothing happens.
void preferHugePages(void* memory, int64_t bytes);

}  // namespace tilewise
