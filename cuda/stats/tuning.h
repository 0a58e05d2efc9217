// The numbers to tune in a GPU's statistics of attention: 'budget' means that shared memory or the chip allow no more;
// none of them is measured yet. Reader: someone with a GPU and a benchmark. Host and device read the same numbers.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cuda {

// Queries, keys and dims of a tile. Budget: eight warps have 16 rows and 32 columns of it each.
constexpr int kStatsTile = 64;
constexpr int kStatsThreads = 256;

// Floats of scores that wait for the keys with the largest ones to be found: so many stay in the L2 cache; more where a
// tile per multiprocessor takes more, but at most so many.
constexpr int64_t kStatsSliceFloats = int64_t(4) << 20, kMostStatsSliceFloats = int64_t(64) << 20;

// Blocks of threads per multiprocessor below which queries are divided, too, into groups of at least so many.
constexpr int64_t kStatsBlocks = 8;
constexpr Token kLeastStatsGroup = 4 * kStatsTile;
constexpr int64_t kMostStatsGroups = 64;

// Threads of a block that adds up groups.
constexpr int kStatsSumThreads = 128;

}  // namespace tilewise::cuda
