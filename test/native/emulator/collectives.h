// The collectives among the primitives: all lanes of a warp take part, or the program is undefined.
// Reader: someone who adds a primitive whose PTX is `.sync` or a barrier: collective_checks.cu calls each, and
// test/devices/collectives.test.ts holds the names against what cuda/prims/ptx contains.
#pragma once

// X(name, call): a call that is right in every warp of a block of 128 threads after wgmma_fence().
// clang-format off
#define TW_COLLECTIVES(X)                                                         \
  X(warp_id, warp_id())                                                           \
  X(shfl_xor, shfl_xor(1u, 1))                                                    \
  X(shfl, shfl(1u, 0))                                                            \
  X(shfl_up, shfl_up(1, 1))                                                       \
  X(ballot, ballot(true))                                                         \
  X(elect_one, elect_one())                                                       \
  X(sync_warp, sync_warp())                                                       \
  X(sync_block, sync_block())                                                     \
  X(sync_block_or, sync_block_or(true))                                           \
  X(barrier_sync, barrier_sync(1, 128))                                           \
  X(barrier_arrive, barrier_arrive(1, 128))                                       \
  X(ldmatrix_x4, ldmatrix_x4(r.a, smem_base()))                                   \
  X(ldmatrix_x4_trans, ldmatrix_x4_trans(r.a, smem_base()))                       \
  X(stmatrix_x4, stmatrix_x4(smem_base() + 16 * thread_index(), r.a))             \
  X(mma_m16n8k16, mma_m16n8k16<bf16>(r.c, r.a, 0, 0))                             \
  X(mma_m16n16k16, mma_m16n16k16<bf16>(r.c, r.c, r.a, r.a))                       \
  X(mma_m16n8k8_tf32, mma_m16n8k8_tf32(r.c, r.a, 0, 0))                           \
  X(wgmma, (wgmma<bf16, 64>)(r.d, r.right, r.right, false))                       \
  X(wgmma_fence, wgmma_fence())                                                   \
  X(wgmma_commit, wgmma_commit())                                                 \
  X(wgmma_wait, wgmma_wait<0>())                                                  \
  X(setmaxnreg_inc, setmaxnreg_inc<128>())                                        \
  X(setmaxnreg_dec, setmaxnreg_dec<24>())
// clang-format on
