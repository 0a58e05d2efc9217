// wgmma (sm_90a): products of a warpgroup, 64 x N x 16, whose b (and a) are read from shared memory while threads go
// on. PTX ISA, "Asynchronous warpgroup-level matrix instructions".
#pragma once

#include "shared.h"

namespace tilewise::cuda {

template <class E, int N>
struct Wgmma;  // the instruction for one type and width
#include "wgmma_shapes.inc"

// d (64 x N, float32) = a * b + (keep ? d : 0)
template <class E, int N, Major A = Major::k, Major B = Major::k>
TW_PRIM void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool keep) {
  Wgmma<E, N>::template multiply<A == Major::mn, B == Major::mn>(d, a, b, keep);
}
// The same with a (64 x 16) in registers. They must not change before the wait.
template <class E, int N, Major B = Major::k>
TW_PRIM void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool keep) {
  Wgmma<E, N>::template multiply<B == Major::mn>(d, a, b, keep);
}

// Before the first wgmma, and wherever its registers were touched since.
TW_PRIM void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
TW_PRIM void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most `Pending` committed groups are unfinished. Names the accumulators that are finished by it: each is then
// an operand here, and the compiler cannot move a use of it above the wait.
template <int Pending, int... Ns>
TW_PRIM void wgmma_wait(float (&... accumulators)[Ns]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
  auto pin = [](float* d, int count) {
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[i])::"memory");
  };
  (pin(accumulators, Ns), ...);
}

// Registers per thread, by all warps of a warpgroup: 24 to 256, a multiple of 8.
template <int Registers>
TW_PRIM void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
TW_PRIM void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

}  // namespace tilewise::cuda
