// The numbers to tune in the CPU's cumulative attention. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Tokens whose sums begin with 0 before they join those of all tokens before: rounding grows with the square root of
// what a plain running sum has. Part of the result's bits. Not measured.
constexpr Token kCumulativeChunk = 64;

}  // namespace tilewise::cpu
