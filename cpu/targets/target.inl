// The body of every target's translation unit: the loops compiled for one instruction set, and the table of them.
// Reader: someone adding a target. Define TILEWISE_SIMD (the simd header), TILEWISE_KERNELS (the table's name) and
// TILEWISE_TARGET_NAME, optionally TILEWISE_WIDER (see Kernels::wide), include this once, compile with the target's
// -m flags. A unit that defines TILEWISE_WIDE is such a wider table: it has the loop over tiles alone.
//
// Everything but the table is in an anonymous namespace and nothing from std is instantiated: a function that the
// linker could share with other units would run this target's instructions on processors that lack them.

#include <cfloat>
#include <cmath>
#include <type_traits>

#include "../../core/base/number.h"
#include "../../core/base/softmax.h"
#include "../../core/pattern/stretches.h"
#include "../../core/score/effect.h"
#include "../attention/tuning.h"
#include "../runtime/carver.h"
#include "../runtime/kernels.h"
#include "../selection/tuning.h"
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(TILEWISE_WIDE)
// Files of the loop over tiles have functions for decode, too.
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

namespace tilewise::cpu {
namespace {

#include TILEWISE_SIMD
// These read in this order.
#include "../simd/math.inl"
#include "../simd/lanes.inl"
#include "../simd/register_tile.inl"
#include "../simd/rows.inl"
#include "../attention/lengths.inl"
#include "../attention/coded_rows.inl"
#include "../attention/scores.inl"
#include "../attention/closed_rows.inl"
#include "../attention/rule_table.inl"
#include "../attention/score_factors.inl"
#include "../attention/rule_requests.inl"
#include "../attention/rule_effects.inl"
#include "../attention/key_block.inl"
#include "../attention/flash_loop.inl"
#include "../attention/panel_rows.inl"
#include "../attention/tile_loop.inl"

int64_t tileScratch(const AttentionProblem& p, TileShape shape) {
  TileScratch s;
  return layOutTile(p, shape, kSightBytes, nullptr, s);
}

#if defined(TILEWISE_WIDE)

}  // namespace

const TileKernels TILEWISE_KERNELS = {TILEWISE_TARGET_NAME, kPanel, tileScratch, runTileTask};

#else

#include "../attention/decode_piece.inl"
#include "../attention/decode_steps.inl"
#include "../attention/byte_products.inl"
#include "../attention/coded_steps.inl"
#include "../attention/decode_slices.inl"
#include "../attention/decode_loop.inl"
#include "../rotary/rotate_row.inl"
#include "../selection/select_loop.inl"

int64_t decodeScratch(const AttentionProblem& p, int groups, int rows) {
  DecodeScratch s;
  return layOutDecode(p, groups, rows, nullptr, s);
}

}  // namespace

#if !defined(TILEWISE_WIDER)
#define TILEWISE_WIDER nullptr
#endif
const Kernels TILEWISE_KERNELS = {
    {TILEWISE_TARGET_NAME, kPanel, tileScratch, runTileTask},
    TILEWISE_WIDER,
    decodeScratch,
    paddedRows,
    paddedDim,
    runDecodeTask,
    lengthFactors,
    readRow,
    writeRow,
    makeRotations,
    rotateRow,
    sampledFloats,
    layOutRows,
    keyFloats,
    scoreKeys,
};

#endif

}  // namespace tilewise::cpu
