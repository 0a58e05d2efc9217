// TMA (sm_90): boxes of a tensor, rank 2 to 5, to and from shared memory by one thread. Coordinates are the box's
// first element, innermost first; outside the tensor, loads give zeros and stores nothing.
#pragma once

#include "shared.h"

namespace tilewise::cuda {

TW_PRIM void tma_prefetch(const TensorMap& map) { asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory"); }

// Lowers the barrier's expected bytes by those of the whole box when it has landed.
#define TW_TMA_LOAD(rank, coordinates, ...)                                                                           \
  asm volatile("cp.async.bulk.tensor." rank                                                                           \
               ".shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {" coordinates "}], [%2];" ::"r"(to), \
               "l"(&map), "r"(barrier), __VA_ARGS__                                                                   \
               : "memory")

TW_PRIM void tma_load(saddr to, const TensorMap& map, saddr barrier, int c0, int c1) {
  TW_TMA_LOAD("2d", "%3, %4", "r"(c0), "r"(c1));
}
TW_PRIM void tma_load(saddr to, const TensorMap& map, saddr barrier, int c0, int c1, int c2) {
  TW_TMA_LOAD("3d", "%3, %4, %5", "r"(c0), "r"(c1), "r"(c2));
}
TW_PRIM void tma_load(saddr to, const TensorMap& map, saddr barrier, int c0, int c1, int c2, int c3) {
  TW_TMA_LOAD("4d", "%3, %4, %5, %6", "r"(c0), "r"(c1), "r"(c2), "r"(c3));
}
TW_PRIM void tma_load(saddr to, const TensorMap& map, saddr barrier, int c0, int c1, int c2, int c3, int c4) {
  TW_TMA_LOAD("5d", "%3, %4, %5, %6, %7", "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4));
}
#undef TW_TMA_LOAD

#define TW_TMA_STORE(rank, coordinates, ...)                                                    \
  asm volatile("cp.async.bulk.tensor." rank ".global.shared::cta.bulk_group [%0, {" coordinates \
               "}], [%1];" ::"l"(&map),                                                         \
               "r"(from), __VA_ARGS__                                                           \
               : "memory")

TW_PRIM void tma_store(const TensorMap& map, saddr from, int c0, int c1) {
  TW_TMA_STORE("2d", "%2, %3", "r"(c0), "r"(c1));
}
TW_PRIM void tma_store(const TensorMap& map, saddr from, int c0, int c1, int c2) {
  TW_TMA_STORE("3d", "%2, %3, %4", "r"(c0), "r"(c1), "r"(c2));
}
TW_PRIM void tma_store(const TensorMap& map, saddr from, int c0, int c1, int c2, int c3) {
  TW_TMA_STORE("4d", "%2, %3, %4, %5", "r"(c0), "r"(c1), "r"(c2), "r"(c3));
}
TW_PRIM void tma_store(const TensorMap& map, saddr from, int c0, int c1, int c2, int c3, int c4) {
  TW_TMA_STORE("5d", "%2, %3, %4, %5, %6", "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4));
}
#undef TW_TMA_STORE

TW_PRIM void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until at most `Pending` of this thread's committed groups of stores are unfinished.
template <int Pending>
TW_PRIM void tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(Pending) : "memory");
}

}  // namespace tilewise::cuda
