// Which thread runs, and what lanes of one warp tell each other. Blocks and grids have one dimension.
#pragma once

#include "shared.h"

namespace tilewise::cuda {

TW_PRIM uint32_t block_index() { return blockIdx.x; }
TW_PRIM uint32_t block_count() { return gridDim.x; }
TW_PRIM uint32_t thread_index() { return threadIdx.x; }
TW_PRIM uint32_t threads_per_block() { return blockDim.x; }
TW_PRIM int lane_id() { return threadIdx.x & 31; }
// Through a shuffle, so that the compiler knows it to be the same in all lanes. Asked for at the top of each step of a
// loop: kept in a register through attend()'s loop, it makes 4 of 43 bfloat16 kernels spill on sm_90a, 3 on sm_80.
TW_PRIM int warp_id() { return __shfl_sync(0xffffffff, int(threadIdx.x) >> 5, 0); }

TW_PRIM float shfl_xor(float value, int mask) { return __shfl_xor_sync(0xffffffff, value, mask); }
TW_PRIM uint32_t shfl_xor(uint32_t value, int mask) { return __shfl_xor_sync(0xffffffff, value, mask); }
TW_PRIM int32_t shfl_xor(int32_t value, int mask) { return __shfl_xor_sync(0xffffffff, value, mask); }
TW_PRIM float shfl(float value, int lane) { return __shfl_sync(0xffffffff, value, lane); }
TW_PRIM uint32_t shfl(uint32_t value, int lane) { return __shfl_sync(0xffffffff, value, lane); }
TW_PRIM int32_t shfl(int32_t value, int lane) { return __shfl_sync(0xffffffff, value, lane); }
// From the lane `delta` below; lanes that have none keep their own.
TW_PRIM int32_t shfl_up(int32_t value, int delta) { return __shfl_up_sync(0xffffffff, value, delta); }
TW_PRIM uint32_t ballot(bool yes) { return __ballot_sync(0xffffffff, yes); }
TW_PRIM int popc(uint32_t bits) { return __popc(bits); }

// True in one lane of the warp, always the same one (sm_90).
TW_PRIM bool elect_one() {
  uint32_t elected;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }" : "=r"(elected));
  return elected;
}

}  // namespace tilewise::cuda
