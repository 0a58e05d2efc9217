// The body of every target's linear attention: the loops compiled for one instruction set, and the table of them.
// Reader: someone adding a target; see cpu/targets/target.inl, whose rules hold here. Define TILEWISE_SIMD,
// TILEWISE_LINEAR_KERNELS (the table's name) and TILEWISE_TARGET_NAME.

#include <cfloat>
#include <cmath>
#include <type_traits>

#include "../../core/base/number.h"
#include "../runtime/carver.h"
#include "kernels.h"
#include "tuning.h"
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
#include "pairs.inl"
#include "features.inl"
#include "chunk_scratch.inl"
#include "chunk_loop.inl"
#include "group.inl"
#include "states.inl"

}  // namespace

const LinearKernels TILEWISE_LINEAR_KERNELS = {
    TILEWISE_TARGET_NAME, stateFloats, scratchFloats, sumGroup, runGroup, readState, carry, loadState,
    storeState,           stepFloats,  step,
};

}  // namespace tilewise::cpu
