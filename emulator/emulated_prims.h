// The primitives of cuda/prims/ptx as emulated operations: the same names and signatures. What an operation does on
// the machine is said there, and by the emulator's source files; here each is only handed on.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "dialect.h"
#include "float32.h"
#include "half.h"
#include "operations.h"

#define TW_PRIM __forceinline__

namespace tilewise::cuda {

// ptx/shared.h
TW_PRIM saddr smem_base() { return emulator::kSharedBase; }

template <class T>
TW_PRIM T loadShared(saddr from) {
  T value;
  std::memcpy(&value, emulator::shared(from, sizeof value, emulator::Access::read), sizeof value);
  return value;
}
template <class T>
TW_PRIM void storeShared(saddr to, T value) {
  std::memcpy(emulator::shared(to, sizeof value, emulator::Access::write), &value, sizeof value);
}
TW_PRIM void st_shared(saddr to, uint16_t value) { storeShared(to, value); }
TW_PRIM void st_shared(saddr to, uint32_t value) { storeShared(to, value); }
TW_PRIM void st_shared(saddr to, float value) { storeShared(to, value); }
TW_PRIM void st_shared(saddr to, uint4 value) { storeShared(to, value); }
TW_PRIM uint16_t ld_shared_u16(saddr from) { return loadShared<uint16_t>(from); }
TW_PRIM uint32_t ld_shared_u32(saddr from) { return loadShared<uint32_t>(from); }
TW_PRIM float ld_shared_f32(saddr from) { return loadShared<float>(from); }
TW_PRIM uint4 ld_shared_128(saddr from) { return loadShared<uint4>(from); }

// ptx/global.h
TW_PRIM uint4 ld_global_128(const void* from) {
  emulator::checkGlobal(from, sizeof(uint4), emulator::Access::read);
  return *static_cast<const uint4*>(from);
}
TW_PRIM void st_global(void* to, uint4 value) {
  emulator::checkGlobal(to, sizeof value, emulator::Access::write);
  *static_cast<uint4*>(to) = value;
}
TW_PRIM void st_global(float* to, float value) {
  emulator::checkGlobal(to, sizeof value, emulator::Access::write);
  *to = value;
}

// ptx/async_copy.h
TW_PRIM void cp_async16(saddr to, const void* from, int bytes) { emulator::asyncCopy(to, from, bytes); }
TW_PRIM void cp_async_commit() { emulator::asyncCopyCommit(); }
template <int Pending>
TW_PRIM void cp_async_wait() {
  emulator::asyncCopyWait(Pending);
}

// ptx/matrix.h
template <class E>
constexpr emulator::Element elementOf = std::is_same_v<E, bf16> ? emulator::Element::bf16 : emulator::Element::f16;

TW_PRIM void ldmatrix_x4(uint32_t (&r)[4], saddr row) { emulator::loadMatrix(r, row, false); }
TW_PRIM void ldmatrix_x4_trans(uint32_t (&r)[4], saddr row) { emulator::loadMatrix(r, row, true); }
TW_PRIM void stmatrix_x4(saddr row, const uint32_t (&r)[4]) { emulator::storeMatrix(row, r); }
template <class E>
TW_PRIM void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulator::multiply({d, nullptr, a, {b0, b1, 0, 0}}, elementOf<E>);
}
template <class E>
TW_PRIM void mma_m16n16k16(float (&d0)[4], float (&d1)[4], const uint32_t (&a)[4], const uint32_t (&b)[4]) {
  emulator::multiply({d0, d1, a, {b[0], b[1], b[2], b[3]}}, elementOf<E>);
}
TW_PRIM void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulator::multiplyTf32(d, a, b0, b1);
}

// ptx/math.h
TW_PRIM float exp2_approx(float x) { return emulator::exp2Flushed(x); }
TW_PRIM float log2_approx(float x) { return emulator::log2Flushed(x); }
TW_PRIM float reciprocal_approx(float x) { return emulator::reciprocalFlushed(x); }
TW_PRIM float max_f32(float a, float b) { return emulator::maximum(a, b); }
template <class E>
TW_PRIM uint32_t pack2(float low, float high) {
  if constexpr (std::is_same_v<E, bf16>) {
    return emulator::toBf16(low) | uint32_t(emulator::toBf16(high)) << 16;
  } else {
    return emulator::toF16(low) | uint32_t(emulator::toF16(high)) << 16;
  }
}
TW_PRIM uint32_t to_tf32(float x) { return emulator::toTf32(x); }

// ptx/warp.h
TW_PRIM uint32_t block_index() { return emulator::currentBlock->index; }
TW_PRIM uint32_t block_count() { return emulator::currentBlock->count; }
TW_PRIM uint32_t thread_index() { return emulator::currentThread->index; }
TW_PRIM uint32_t threads_per_block() { return emulator::currentBlock->threads; }
TW_PRIM int lane_id() { return int(emulator::currentThread->lane); }

template <class T>
TW_PRIM T shuffled(emulator::Shuffle kind, T value, int operand) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = emulator::shuffle(kind, bits, operand);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
TW_PRIM float shfl_xor(float value, int mask) { return shuffled(emulator::Shuffle::exclusiveOr, value, mask); }
TW_PRIM uint32_t shfl_xor(uint32_t value, int mask) { return shuffled(emulator::Shuffle::exclusiveOr, value, mask); }
TW_PRIM int32_t shfl_xor(int32_t value, int mask) { return shuffled(emulator::Shuffle::exclusiveOr, value, mask); }
TW_PRIM float shfl(float value, int lane) { return shuffled(emulator::Shuffle::index, value, lane); }
TW_PRIM uint32_t shfl(uint32_t value, int lane) { return shuffled(emulator::Shuffle::index, value, lane); }
TW_PRIM int32_t shfl(int32_t value, int lane) { return shuffled(emulator::Shuffle::index, value, lane); }
// Collectives of the warp, as in PTX: called where lanes have diverged, they are reported.
TW_PRIM int warp_id() { return shfl(int32_t(emulator::currentThread->warp), 0); }
TW_PRIM int32_t shfl_up(int32_t value, int delta) { return shuffled(emulator::Shuffle::up, value, delta); }
TW_PRIM uint32_t ballot(bool yes) { return emulator::ballot(yes); }
TW_PRIM int popc(uint32_t bits) { return __builtin_popcount(bits); }
TW_PRIM bool elect_one() { return shfl(int32_t(emulator::currentThread->lane), 0) == lane_id(); }

// ptx/barrier.h
TW_PRIM void sync_warp() { emulator::syncWarp(); }
TW_PRIM void sync_block() { emulator::barrierSync(0, 0); }
TW_PRIM bool sync_block_or(bool yes) { return emulator::barrierOr(yes); }
TW_PRIM void barrier_sync(int id, int threads) { emulator::barrierSync(id, threads); }
TW_PRIM void barrier_arrive(int id, int threads) { emulator::barrierArrive(id, threads); }

// ptx/mbarrier.h
TW_PRIM void mbarrier_init(saddr barrier, int count) { emulator::mbarrierInit(barrier, count); }
TW_PRIM void mbarrier_arrive(saddr barrier) { emulator::mbarrierArrive(barrier, 0); }
TW_PRIM void mbarrier_arrive_expect_tx(saddr barrier, uint32_t bytes) { emulator::mbarrierArrive(barrier, bytes); }
TW_PRIM void mbarrier_wait(saddr barrier, uint32_t parity) { emulator::mbarrierWait(barrier, parity); }
TW_PRIM void fence_mbarrier_init() { emulator::fenceMbarrierInit(); }
TW_PRIM void fence_proxy_async() { emulator::fenceProxyAsync(); }

// ptx/tma.h
TW_PRIM void tma_prefetch(const TensorMap&) {}
template <class... Coordinate>
TW_PRIM void tma_load(saddr to, const TensorMap& map, saddr barrier, Coordinate... c) {
  static_assert(sizeof...(c) >= 2 && sizeof...(c) <= 5, "boxes have rank 2 to 5");
  const int coordinates[] = {int(c)...};
  emulator::tmaLoad(to, &map, barrier, sizeof...(c), coordinates);
}
template <class... Coordinate>
TW_PRIM void tma_store(const TensorMap& map, saddr from, Coordinate... c) {
  static_assert(sizeof...(c) >= 2 && sizeof...(c) <= 5, "boxes have rank 2 to 5");
  const int coordinates[] = {int(c)...};
  emulator::tmaStore(&map, from, sizeof...(c), coordinates);
}
TW_PRIM void tma_store_commit() { emulator::tmaStoreCommit(); }
template <int Pending>
TW_PRIM void tma_store_wait() {
  emulator::tmaStoreWait(Pending);
}

// ptx/wgmma.h
template <class E, int N, Major A = Major::k, Major B = Major::k>
TW_PRIM void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool keep) {
  emulator::warpgroupMultiply({N, elementOf<E>, A == Major::mn, B == Major::mn, false, keep, a, b}, nullptr, d);
}
template <class E, int N, Major B = Major::k>
TW_PRIM void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool keep) {
  emulator::warpgroupMultiply({N, elementOf<E>, false, B == Major::mn, true, keep, 0, b}, a, d);
}
TW_PRIM void wgmma_fence() { emulator::warpgroupFence(); }
TW_PRIM void wgmma_commit() { emulator::warpgroupCommit(); }
template <int Pending, int... Ns>
TW_PRIM void wgmma_wait(float (&... accumulators)[Ns]) {
  float* const named[] = {accumulators..., nullptr};
  emulator::warpgroupWait(Pending, named, sizeof...(Ns));
}
template <int Registers>
TW_PRIM void setmaxnreg_inc() {
  emulator::setMaxRegisters(Registers, true);
}
template <int Registers>
TW_PRIM void setmaxnreg_dec() {
  emulator::setMaxRegisters(Registers, false);
}

}  // namespace tilewise::cuda
