// The numbers to tune in the CPU's gated delta rule. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Tokens of a chunk unless the caller says otherwise. 32, 64 and 128 take 21, 23 and 26 ms (4 heads of 128 dims, 4096
// tokens, one thread with AVX-512).
constexpr int32_t kDeltaChunk = 32;

}  // namespace tilewise::cpu
