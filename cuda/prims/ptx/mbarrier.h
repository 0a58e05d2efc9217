// mbarrier (sm_90): barriers in shared memory, 8 bytes each, that threads and TMA arrive at; and the fences they need.
#pragma once

#include "shared.h"

namespace tilewise::cuda {

// Before others use it: fence_mbarrier_init by the same thread, then a barrier of the block.
TW_PRIM void mbarrier_init(saddr barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
TW_PRIM void mbarrier_arrive(saddr barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
TW_PRIM void mbarrier_arrive_expect_tx(saddr barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// Until the phase of this parity is over. A fresh barrier is in phase 0, so waiting for parity 1 returns at once.
TW_PRIM void mbarrier_wait(saddr barrier, uint32_t parity) {
  uint32_t isOver;
  do {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(isOver)
                 : "r"(barrier), "r"(parity)
                 : "memory");
  } while (!isOver);
}

TW_PRIM void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// This thread's writes to shared memory become visible to TMA and wgmma, once a barrier orders them.
TW_PRIM void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

}  // namespace tilewise::cuda
