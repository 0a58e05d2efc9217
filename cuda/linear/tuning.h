// The numbers to tune in a GPU's linear attention; none of them is measured yet. Reader: someone with a GPU and a
// benchmark. Host and device read the same numbers.
#pragma once

#include <cstdint>

#include "../../core/base/platform.h"

namespace tilewise::cuda {

// Tokens of a chunk at most, and rows and columns of a strip: what one tile of shared memory holds.
constexpr int kChunkTokens = 64;
constexpr int kStripDims = 64;

// Arrays of a float per token of a chunk that a block has in shared memory (decays.h).
constexpr int kChunkArrays = 8;
constexpr int64_t kChunkRowsBytes = kChunkArrays * int64_t(kChunkTokens) * int64_t(sizeof(float));

// Eight warps: two for every 16 rows of a tile, which divide its columns.
constexpr int kLinearThreads = 256;
constexpr int kCarryThreads = 256;

// Groups of a sequence, and their tokens at least: with fewer the states of groups would be more than 1/8 of what is
// read.
constexpr int64_t kMostLinearGroups = 64;
constexpr Token kLeastGroupTokens = 2048;

}  // namespace tilewise::cuda
