// Race checking: each kernel runs well, and is found out when one of its barriers, waits or fences is missing.
#include "../../../cuda/prims/prims.h"
#include "checks.h"
#include "expect.h"

namespace tilewise::cuda {
namespace {

using emulator::expectError;
using emulator::expectNoError;
using emulator::Grid;

alignas(128) uint16_t source[64 * 64];

// ---- threads of a block

enum class Order { barrier, warp, none };

// Every thread reads what the next one wrote.
void exchange(Order order, bool reusesSlot) {
  const saddr slots = smem_base();
  const uint32_t thread = thread_index(), next = (thread + 1) % threads_per_block();
  st_shared(slots + thread * 4, thread);
  if (order == Order::barrier) sync_block();
  if (order == Order::warp) sync_warp();
  const uint32_t got = ld_shared_u32(slots + next * 4);
  if (!reusesSlot) return;
  sync_block();
  st_shared(slots + thread * 4, got);
}

void checkBarriers() {
  const Grid block{2, 64, 256}, warp{2, 32, 128};
  expectNoError("exchange in a block", block, [] { exchange(Order::barrier, true); });
  expectNoError("exchange in a warp", warp, [] { exchange(Order::warp, false); });
  expectError(
      "no barrier", block, "races", [] { exchange(Order::none, false); }, "race,", "st.shared by thread",
      "ld.shared by thread", "race_checks.cu:");
  expectError("a warp's barrier between warps", block, "races", [] { exchange(Order::warp, false); }, "race,");
  expectError(
      "a slot reused too soon", block, "races",
      [] {
        exchange(Order::barrier, false);
        st_shared(smem_base() + thread_index() * 4, 0u);
      },
      "race, write after read", "ld.shared by thread");
  expectError("two writers", block, "races", [] { st_shared(smem_base(), thread_index()); }, "write after write");
  // Lanes meet in a shuffle, but that orders no memory.
  expectError(
      "a shuffle for a barrier", warp, "races",
      [] {
        st_shared(smem_base() + thread_index() * 4, 1u);
        shfl_xor(1u, 1);
        ld_shared_u32(smem_base() + (thread_index() ^ 1) * 4);
      },
      "race,");
}

// ---- cp.async

enum class Copy { right, uncommitted, unwaited, waitedTooLittle, unordered };

// Each thread copies 16 bytes, twice; a neighbour reads the second.
void copyAndRead(Copy variant) {
  const saddr mine = smem_base() + thread_index() * 32;
  cp_async16(mine, source, 16);
  cp_async_commit();
  cp_async16(mine + 16, source + 8, 16);
  if (variant != Copy::uncommitted) cp_async_commit();
  if (variant == Copy::waitedTooLittle) cp_async_wait<1>();
  if (variant == Copy::right || variant == Copy::uncommitted || variant == Copy::unordered) cp_async_wait<0>();
  if (variant != Copy::unordered) sync_block();
  ld_shared_u32(smem_base() + (thread_index() ^ 1) * 32 + 16);
}

void checkCopies() {
  const Grid grid{1, 64, 64 * 32};
  expectNoError("cp.async", grid, [] { copyAndRead(Copy::right); });
  for (const Copy variant : {Copy::uncommitted, Copy::unwaited, Copy::waitedTooLittle, Copy::unordered}) {
    expectError(
        "cp.async read too soon", grid, "races", [=] { copyAndRead(variant); }, "race,", "cp.async of thread",
        "ld.shared by thread");
  }
  expectError(
      "cp.async over what others read", grid, "races",
      [] {
        st_shared(smem_base() + thread_index() * 16, uint4{});
        sync_block();
        ld_shared_u32(smem_base() + (thread_index() ^ 1) * 16);
        cp_async16(smem_base() + thread_index() * 16, source, 16);
      },
      "race,", "cp.async by cp.async of thread", "ld.shared by thread");
  // What is in flight is poison in shared memory, so that lazy schedules show a missing wait by values, too.
  emulator::launch({1, 32, 512}, {}, [] {
    cp_async16(smem_base() + thread_index() * 16, source, 16);
    cp_async_commit();
    CHECK(ld_shared_u32(smem_base() + thread_index() * 16) == 0xffffffff, "a copy landed before its wait");
    cp_async_wait<0>();
    CHECK(ld_shared_u32(smem_base() + thread_index() * 16) == 0, "a copy did not land with its wait");
  });
}

// ---- TMA and wgmma

TensorMap tileMap() { return emulator::makeTensorMap({source, 2, {64, 64}, {128}, {64, 64}, 128}); }

enum class Load { right, unfencedBarrier, unpublishedBarrier, reusedTooSoon };

void loadTile(const TensorMap& map, Load variant) {
  const saddr barrier = smem_base() + 8192, tile = smem_base();
  if (thread_index() == 0) {
    mbarrier_init(barrier, 1);
    if (variant != Load::unfencedBarrier) fence_mbarrier_init();
  }
  if (variant != Load::unpublishedBarrier) sync_block();
  for (uint32_t round = 0; round < 2; ++round) {
    if (thread_index() == 0) {
      mbarrier_arrive_expect_tx(barrier, 8192);
      tma_load(tile, map, barrier, 0, 0);
    }
    mbarrier_wait(barrier, round);
    ld_shared_u32(tile + thread_index() * 4);
    if (variant != Load::reusedTooSoon) sync_block();
  }
}

enum class Store { right, unfenced, unordered, overwritten };

void storeTile(const TensorMap& map, Store variant) {
  const saddr tile = smem_base();
  for (int i = 0; i < 64; ++i) st_shared(tile + (i * 32 + thread_index()) * 4, 0u);
  if (variant != Store::unfenced) fence_proxy_async();
  if (variant != Store::unordered) sync_warp();
  if (elect_one()) {
    tma_store(map, tile, 0, 0);
    tma_store_commit();
    if (variant != Store::overwritten) tma_store_wait<0>();
    st_shared(tile, 1u);
  }
}

enum class Product { right, unfenced, overwritten };

// 64 x 64 x 16 from one image, which is overwritten afterwards.
void multiplyTile(Product variant) {
  const saddr image = smem_base();
  for (int i = 0; i < 16; ++i) st_shared(image + (i * 128 + thread_index()) * 4, 0u);
  if (variant != Product::unfenced) fence_proxy_async();
  sync_block();
  const uint64_t operand = smem_desc(image, 16, 1024, Swizzle::b128);
  float d[32] = {};
  wgmma_fence();
  wgmma<bf16, 64>(d, operand, operand, true);
  wgmma_commit();
  if (variant != Product::overwritten) wgmma_wait<0>(d);
  // All warps have issued it.
  sync_block();
  st_shared(image + thread_index() * 4, 1u);
  if (variant == Product::overwritten) wgmma_wait<0>(d);
}

void checkAsyncProxy() {
  const TensorMap map = tileMap();
  const Grid warps{1, 64, 8192 + 8}, warp{1, 32, 8192}, warpgroup{1, 128, 8192};
  expectNoError("a TMA load", warps, [&] { loadTile(map, Load::right); });
  expectError(
      "an mbarrier without its fence", warps, "races", [&] { loadTile(map, Load::unfencedBarrier); },
      "initialisation was not fenced");
  expectError(
      "an mbarrier without a barrier", warps, "races", [&] { loadTile(map, Load::unpublishedBarrier); }, "mbarrier");
  expectError(
      "a tile loaded over what is read", warps, "races", [&] { loadTile(map, Load::reusedTooSoon); }, "race,",
      "TMA load by TMA", "ld.shared by thread");

  expectNoError("a TMA store", warp, [&] { storeTile(map, Store::right); });
  expectError(
      "a TMA store without its fence", warp, "races", [&] { storeTile(map, Store::unfenced); },
      "missing proxy fence, read after write", "TMA store by TMA");
  expectError("a TMA store without a barrier", warp, "races", [&] { storeTile(map, Store::unordered); }, "race,");
  expectError(
      "a tile overwritten while it is stored", warp, "races", [&] { storeTile(map, Store::overwritten); },
      "race, write after read", "TMA");

  expectNoError("wgmma", warpgroup, [] { multiplyTile(Product::right); });
  expectError(
      "wgmma without the proxy fence", warpgroup, "races", [] { multiplyTile(Product::unfenced); },
      "missing proxy fence", "wgmma of warpgroup 0");
  expectError(
      "an operand overwritten in flight", warpgroup, "races", [] { multiplyTile(Product::overwritten); },
      "race, write after read", "wgmma of warpgroup 0");
}

}  // namespace

void checkRaces() {
  checkBarriers();
  checkCopies();
  checkAsyncProxy();
}

}  // namespace tilewise::cuda
