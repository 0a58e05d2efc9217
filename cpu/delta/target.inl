// The body of every target's gated delta rule: the loops compiled for one instruction set, and the table of them.
// Reader: someone adding a target; see cpu/targets/target.inl, whose rules hold here. Define TILEWISE_SIMD,
// TILEWISE_DELTA_KERNELS (the table's name) and TILEWISE_TARGET_NAME.

#include <cfloat>
#include <cmath>
#include <type_traits>

#include "../../core/base/number.h"
#include "../linear/tuning.h"
#include "../runtime/carver.h"
#include "kernels.h"
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// rows.inl has rows for attention, too.
#pragma GCC diagnostic ignored "-Wunused-function"

namespace tilewise::cpu {
namespace {

#include TILEWISE_SIMD
// These read in this order.
#include "../simd/math.inl"
#include "../simd/register_tile.inl"
#include "../simd/rows.inl"
#include "../linear/pairs.inl"
#include "chunk_loop.inl"
#include "step.inl"

int64_t scratchFloats(const DeltaProblem& p, int32_t strips, int32_t chunk) {
  DeltaScratch s;
  DeltaStep step;
  return larger(layOutDelta(p, strips, chunk, nullptr, s), layOutDeltaStep(p, strips, nullptr, step));
}

void runDelta(const DeltaTask& task, float* scratch) {
  if (task.problem->tokensOf(task.sequence).size() == 1) return runStep(task, scratch);
  runChunks(task, scratch);
}

}  // namespace

const DeltaKernels TILEWISE_DELTA_KERNELS = {TILEWISE_TARGET_NAME, kPanel, scratchFloats, runDelta};

}  // namespace tilewise::cpu
