// Barriers of a warp and of a block. They order shared memory; nothing else in prims.h does unless it says so.
#pragma once

#include "shared.h"

namespace tilewise::cuda {

TW_PRIM void sync_warp() { __syncwarp(); }
TW_PRIM void sync_block() { __syncthreads(); }
// Every thread learns whether any of the block said yes.
TW_PRIM bool sync_block_or(bool yes) { return __syncthreads_or(yes); }

// Named barriers 1 to 15, of `threads` threads, whole warps; 0 is sync_block's.
TW_PRIM void barrier_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
TW_PRIM void barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace tilewise::cuda
