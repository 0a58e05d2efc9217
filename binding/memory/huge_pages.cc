// See huge_pages.h.
#include "huge_pages.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace tilewise {

#if defined(__linux__)
void preferHugePages(void* memory, int64_t bytes) {
  // The system takes whole small pages, and makes huge ones of those that it finds together.
  const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + page - 1) / page * page, end = (begin + uintptr_t(bytes)) / page * page;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
}
#else
void preferHugePages(void*, int64_t) {}
#endif

}  // namespace tilewise
