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

// Bytes that are requested from memory at once, ahead of the chunk that needs them. Requests of every second line take
// 1.1 of the time.
constexpr int64_t kAheadBytes = 256;

// KV heads that take turns chunk by chunk, at most, and bytes of their states, which are to stay in L2. With 1, 2, 4
// and 8 of 8 heads at once 4096 tokens of 64 dims take 10.6, 9.1, 8.5 and 8.2 ms, of 128 dims 36.5, 36.9, 29.4 and 33.0
// (one thread with AVX-512, tokens first, beside others). Where heads come first a single one is the fastest.
constexpr int64_t kMostHeadsAtOnce = 8, kMostStateBytes = 288 << 10;

// Rows of a state between the one that a step computes and the one that it requests from memory: a step of 32 states of
// 128 x 128 takes 0.17 in place of 0.20 ms, with 16 to 128 rows as long as with 8.
constexpr int kAheadStepRows = 8;

}  // namespace tilewise::cpu
