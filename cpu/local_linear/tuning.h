// The numbers to tune in the CPU's local linear attention. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Elements of keys that a block takes, and keys at most and at least: with queries, directions and sums in L1. Not
// measured.
constexpr int32_t kBlockElements = 4096, kMostBlockKeys = 64, kLeastBlockKeys = 16;

// Bytes of a thread in which a panel's weights are kept from pass to pass; those of keys beyond are computed anew in
// each. 65536 keys of AVX-512's 32 rows.
constexpr int64_t kKeptBytes = 8 << 20;

// Residuals of a row that are remembered, at most: each new one is made orthogonal to them again, which rounding
// spoils. Without that, 8 iterations of 8 dims end with an error of 3e-3 in place of 1e-6.
constexpr int32_t kMostResiduals = 32;

}  // namespace tilewise::cpu
