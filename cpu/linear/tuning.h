// The numbers to tune in the CPU's linear attention. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Tokens of a chunk unless the caller says otherwise.
constexpr int32_t kLinearChunk = 64;

// Groups of chunks per sequence and head, at most, and tokens of a group, at least. They depend on the problem alone,
// since the order of sums does. Not measured.
constexpr int64_t kMostGroups = 64;
constexpr Token kGroupTokens = 1024;

// Rows of each operand that are requested from memory per register tile, ahead of the chunk that needs them: 4096
// tokens of 8 heads of 64 take 14 in place of 19 ms, of 128 37 in place of 45 (one thread with AVX-512, beside others).
constexpr int kAheadRows = 2;

// Rows of a state between the one that a step computes and the one that it requests from memory: a step of 32 states of
// 128 x 128 takes 0.38 in place of 0.51 ms.
constexpr int kAheadStepRows = 8;

}  // namespace tilewise::cpu
