// The numbers to tune in a GPU's cumulative attention; none of them is measured yet. Reader: someone with a GPU and a
// benchmark. Host and device read the same numbers.
#pragma once

#include <cstdint>

#include "../../core/base/platform.h"

namespace tilewise::cuda {

// Threads of a block, each with a column of the values.
constexpr int kCumulativeThreads = 128;

// Tokens whose sum begins with 0, so that rounding does not grow with the length; and those that are loaded at once.
constexpr Token kCumulativeChunkTokens = 64;
constexpr int kCumulativeAhead = 8;

// Blocks of threads per multiprocessor below which tokens are divided, too, into groups of at least so many tokens.
constexpr int64_t kCumulativeBlocks = 8;
constexpr Token kLeastCumulativeGroup = 512;
constexpr int64_t kMostCumulativeGroups = 64;

}  // namespace tilewise::cuda
