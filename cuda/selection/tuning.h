// The numbers to tune in a GPU's selections: 'budget' means that shared memory or the chip allow no more; none of them
// is measured yet. Reader: someone with a GPU and a benchmark. Host and device read the same numbers.
#pragma once

#include <cstdint>

namespace tilewise::cuda {

// Threads of a block that scores candidates, and of one that splits lists. Not measured.
constexpr int kSearchThreads = 256;
constexpr int kSearchWarps = kSearchThreads / 32;
constexpr int kSplitThreads = 128;
// Chunks that a warp searches together: two keys of each are the 16 rows of a product.
constexpr int kChunksPerWarp = 8;

// Working memory of a launch, about: a single group of blocks may need more. Not measured.
constexpr int64_t kWorkspaceBytes = int64_t(64) << 20;
// The most query blocks that search the same chunks in shared memory. Budget.
constexpr int32_t kBlocksPerGroup = 64;
// The most tiles of chunks that pass while query rows stay in shared memory. Budget.
constexpr int32_t kTilesPerBlock = 16;
// Pairs of a query block and a head that are searched together where not all fit. Not measured.
constexpr int32_t kPairsPerBatch = kSearchWarps;
// A batch of fewer searches leaves most warps idle. Not measured.
constexpr int32_t kIdleBelow = kSearchWarps / 2 * kChunksPerWarp;
// Thread blocks per multiprocessor for which candidates are worth dividing. Budget.
constexpr int32_t kBlocksPerMultiprocessor = 8;

}  // namespace tilewise::cuda
