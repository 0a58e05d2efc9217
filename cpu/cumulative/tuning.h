// The numbers to tune in the CPU's cumulative attention. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Tokens whose sums begin with 0 before they join those of all tokens before: rounding grows with the square root of
// what a plain running sum has. Part of the result's bits. Not measured.
constexpr Token kCumulativeChunk = 64;

// What two passes take of the time of one, all threads together; groups are divided among threads where that pays. A
// head of 16384 tokens and 64 dims takes 1.34 ms on one thread and 1.02 on two.
constexpr double kTwoPasses = 1.5;

}  // namespace tilewise::cpu
