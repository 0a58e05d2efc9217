// Faults that need no race checking: out of bounds, diverged, deadlocked, misused. Each is found under any schedule.
#include "../../../cuda/prims/prims.h"
#include "../../../emulator/global_memory.h"
#include "checks.h"
#include "expect.h"

namespace tilewise::cuda {
namespace {

using emulator::expectError;
using emulator::Grid;

const Grid kWarp{1, 32, 1024}, kBlock{1, 128, 1024};
alignas(128) uint16_t zeros[64 * 64];

void checkShared() {
  const saddr end = 1024 + 1024;  // the block's shared memory starts at 1024
  expectError(
      "a store past the end", kWarp, "lazy", [=] { st_shared(end, 1u); }, "thread 0 (warp 0 lane 0)",
      "outside the block's 1024");
  expectError("a load before the start", kWarp, "lazy", [] { ld_shared_u32(0); }, "outside");
  expectError("a load that sticks out", kWarp, "lazy", [=] { ld_shared_128(end - 8); }, "misaligned");
  expectError("a misaligned load", kWarp, "lazy", [] { ld_shared_u32(smem_base() + 2); }, "misaligned");
  expectError(
      "ldmatrix past the end", kWarp, "lazy",
      [] {
        uint32_t r[4];
        ldmatrix_x4(r, smem_base() + lane_id() * 48);
      },
      "ldmatrix", "outside");
  expectError(
      "cp.async past the end", kWarp, "lazy", [] { cp_async16(smem_base() + thread_index() * 64, zeros, 16); },
      "cp.async", "outside");
  emulator::launch(kWarp, {}, [] {
    CHECK(ld_shared_u32(smem_base() + thread_index() * 4) == 0xffffffff, "shared memory is not poisoned");
  });
}

void checkGlobal() {
  emulator::Memory memory;
  auto* data = static_cast<uint8_t*>(memory.allocate(100));
  emulator::Options options;
  options.memory = &memory;
  const auto errorOf = [&](auto kernel) { return emulator::errorOf(kWarp, options, kernel); };
  CHECK(errorOf([=] { ld_global_128(data + 80); }).empty(), "the last whole 16 bytes");
  const auto expectOutside = [&](const char* name, auto kernel) {
    const std::string error = errorOf(kernel);
    CHECK(emulator::contains(error, "outside every allocation") && emulator::contains(error, "fault_checks.cu:"),
          "%s: %s", name, error.c_str());
  };
  expectOutside("a load that sticks out", [=] { ld_global_128(data + 96); });
  expectOutside("a store past the end", [=] { st_global(reinterpret_cast<float*>(data + 100), 1.f); });
  expectOutside("a copy past the end", [=] { cp_async16(smem_base(), data + 96, 16); });
  CHECK(errorOf([=] { cp_async16(smem_base() + thread_index() * 16, data + 96, 4); }).empty(), "a part that is inside");
  CHECK(errorOf([=] { cp_async16(smem_base() + thread_index() * 16, data + 112, 0); }).empty(), "a copy of nothing");
  CHECK(emulator::contains(errorOf([=] { ld_global_128(data + 8); }), "misaligned"), "a misaligned load");
  memory.free(data);
  expectOutside("freed memory", [=] { ld_global_128(data); });
}

void checkDivergence() {
  expectError(
      "lanes in different shuffles", kWarp, "lazy",
      [] {
        if (lane_id() < 16) {
          shfl_xor(1u, 1);
        } else {
          shfl(1u, 0);
        }
      },
      "lanes of one warp diverged", "shfl.bfly", "shfl.idx", "fault_checks.cu:");
  expectError(
      "lanes that stay away", kWarp, "lazy",
      [] {
        if (lane_id() < 16) sync_warp();
      },
      "deadlock", "16x[bar.warp.sync @fault_checks.cu:", "16x[exited");
  expectError(
      "lanes that have gone", kWarp, "lazy",
      [] {
        if (lane_id() == 0) return;
        sync_warp();
      },
      "some lanes of the warp have exited");
  expectError(
      "a barrier that a warp leaves out", kBlock, "lazy",
      [] {
        if (warp_id() == 3) {
          barrier_sync(1, 64);
        } else {
          sync_block();
        }
      },
      "deadlock", "warp 3: 32x[bar.sync @fault_checks.cu:");
  expectError(
      "a barrier after others exited", kBlock, "lazy",
      [] {
        if (warp_id() > 0) sync_block();
      },
      "after some threads have exited");
  expectError("different counts", kBlock, "lazy", [] { barrier_sync(1, warp_id() == 0 ? 64 : 128); }, "disagree");
  expectError(
      "a vote at another's barrier", kBlock, "lazy",
      [] {
        if (warp_id() == 0) {
          sync_block_or(true);
        } else {
          sync_block();
        }
      },
      "disagree");
}

void checkOperands() {
  expectError(
      "tf32 that is not rounded", kWarp, "lazy",
      [] {
        float d[4] = {};
        const uint32_t a[4] = {0x3f800001, 0, 0, 0};
        mma_m16n8k8_tf32(d, a, 0, 0);
      },
      "to_tf32 did not round");
  expectError("17 bytes of 16", kWarp, "lazy", [] { cp_async16(smem_base(), zeros, 17); }, "17 bytes of 16");
}

// ---- mbarrier, TMA and wgmma

void prepare(saddr barrier, int count) {
  if (thread_index() == 0) {
    mbarrier_init(barrier, count);
    fence_mbarrier_init();
  }
  sync_block();
}

void checkMbarriers() {
  expectError("no initialisation", kWarp, "lazy", [] { mbarrier_wait(smem_base(), 0); }, "no mbarrier was initialised");
  expectError(
      "a phase that never ends", kWarp, "lazy",
      [] {
        prepare(smem_base(), 2);
        if (thread_index() == 0) mbarrier_arrive(smem_base());
        mbarrier_wait(smem_base(), 0);
      },
      "deadlock", "mbarrier.wait @fault_checks.cu:", "1 of 2 arrivals");
  expectError(
      "bytes that never come", kWarp, "lazy",
      [] {
        prepare(smem_base(), 1);
        if (thread_index() == 0) mbarrier_arrive_expect_tx(smem_base(), 64);
        mbarrier_wait(smem_base(), 0);
      },
      "deadlock", "64 bytes missing");
  expectError("a count of none", kWarp, "lazy", [] { mbarrier_init(smem_base(), 0); }, "a count of 0");
  expectError(
      "a parity of two", kWarp, "lazy",
      [] {
        prepare(smem_base(), 1);
        mbarrier_wait(smem_base(), 2);
      },
      "a parity of 2");
}

void checkTma() {
  const TensorMap map = emulator::makeTensorMap({zeros, 2, {64, 64}, {128}, {64, 8}, 128});
  const Grid grid{1, 32, 4096};
  const auto load = [&](saddr to) {
    prepare(smem_base(), 1);
    if (thread_index() == 0) tma_load(to, map, smem_base(), 0, 0);
  };
  expectError("a misaligned box", grid, "lazy", [&] { load(smem_base() + 1024 + 64); }, "multiple of 128");
  expectError("a box past the end", grid, "lazy", [&] { load(smem_base() + 3584); }, "outside");
  expectError("a load that nobody waits for", grid, "lazy", [&] { load(smem_base() + 1024); }, "loads in flight");
  for (const char* options : {"lazy", "eager"}) {
    expectError(
        "a store that nobody waits for", grid, options,
        [&] {
          if (thread_index() == 0) tma_store(map, smem_base() + 1024, 0, 0);
          tma_store_commit();
        },
        "stores that nobody waited for");
  }
  expectError(
      "three coordinates of two", grid, "lazy",
      [&] {
        prepare(smem_base(), 1);
        tma_load(smem_base() + 1024, map, smem_base(), 0, 0, 0);
      },
      "3 coordinates for a tensor of rank 2");
  const auto encodingError = [&](emulator::TensorShape shape) -> std::string {
    try {
      emulator::makeTensorMap(shape);
    } catch (const emulator::Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(emulator::contains(encodingError({zeros + 1, 2, {64, 64}, {128}, {64, 8}, 128}), "16 bytes"), "a base");
  CHECK(emulator::contains(encodingError({zeros, 2, {64, 64}, {120}, {64, 8}, 128}), "strides"), "a stride");
  CHECK(emulator::contains(encodingError({zeros, 2, {64, 64}, {128}, {32, 8}, 128}), "as wide as"), "a narrow box");
}

void multiply(bool isFenced, bool isNamed, uint64_t operand) {
  float d[32] = {};
  fence_proxy_async();
  if (isFenced) wgmma_fence();
  wgmma<bf16, 64>(d, operand, operand, false);
  wgmma_commit();
  if (isNamed) {
    wgmma_wait<0>(d);
  } else {
    wgmma_wait<0>();
  }
}

void checkWgmma() {
  const Grid grid{1, 128, 8192};
  const uint64_t right = smem_desc(1024, 16, 1024, Swizzle::b128);
  expectError("no wgmma_fence", grid, "lazy", [=] { multiply(false, true, right); }, "no wgmma_fence");
  expectError("a wait that names nothing", grid, "lazy", [=] { multiply(true, false, right); }, "does not name");
  expectError(
      "an operand past the end", grid, "lazy", [=] { multiply(true, true, smem_desc(8192, 16, 1024, Swizzle::b128)); },
      "outside");
  expectError(
      "a pattern off its boundary", grid, "lazy",
      [=] { multiply(true, true, smem_desc(1024 + 128, 16, 1024, Swizzle::b128)); }, "boundary");
  expectError(
      "warps that disagree", grid, "lazy", [=] { multiply(true, true, right + (warp_id() == 2 ? 2 : 0)); }, "disagree");
  expectError(
      "a warp that stays away", grid, "lazy",
      [=] {
        if (warp_id() != 1) multiply(true, true, right);
      },
      "deadlock");
  expectError(
      "registers of a that change", grid, "lazy",
      [=] {
        float d[32] = {};
        uint32_t a[4] = {};
        wgmma_fence();
        wgmma<bf16, 64>(d, a, right, false);
        wgmma_commit();
        *const_cast<volatile uint32_t*>(a) = 1;
        wgmma_wait<0>(d);
      },
      "registers of a changed");
  expectError(
      "more registers than there are", {1, 384, 1024}, "lazy",
      [] {
        if (warp_id() < 4) {
          setmaxnreg_dec<24>();
        } else {
          setmaxnreg_inc<256>();
        }
      },
      "setmaxnreg: the warpgroups want");
}

}  // namespace

void checkFaults() {
  checkShared();
  checkGlobal();
  checkDivergence();
  checkOperands();
  checkMbarriers();
  checkTma();
  checkWgmma();
}

}  // namespace tilewise::cuda
