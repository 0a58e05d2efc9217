// cp.async (sm_80): global to shared memory, past the registers. PTX ISA, "Data Movement: Asynchronous copy".
#pragma once

#include "shared.h"

namespace tilewise::cuda {

// Fills 16 bytes: the first `bytes` (0 to 16) from global memory, the rest with zeros. With 0 nothing is read.
TW_PRIM void cp_async16(saddr to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
TW_PRIM void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `Pending` of this thread's committed groups are unfinished. Other threads see them after a barrier.
template <int Pending>
TW_PRIM void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

}  // namespace tilewise::cuda
