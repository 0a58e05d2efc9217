// The numbers to tune in attention on every GPU architecture; the tiles of one architecture are in its folder
// (sm80/tuning.h). Reader: someone with a GPU and a benchmark.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cuda {

// Keys of one split. Short enough that a few thousand keys of one sequence fill a GPU, long enough that partial results
// are a small share of the traffic. Patterns that leave keys out are split less: a split should still hold some hundred
// keys. Not measured.
constexpr Token kSplitKeys = 512;
// Rows of queries up to which keys are split at all: above, tiles of queries fill the GPU. Not measured.
constexpr int64_t kSplitRows = 64;
// Threads of a block that combines the partial results of one row. Not measured.
constexpr int kCombineThreads = 128;
// Queries of a tile of ranges, whose runs are planned for it: those of the gather kernel, and more than the decode
// kernel takes.
constexpr Token kRangeQueries = 64;
// Keys that are looked at together for what the score rules do to them: a visit has 16 to 64 keys, and a mask's bytes
// for 32 are one sector of memory. Not measured.
constexpr int kEffectKeys = 32;
// Threads of a block that looks, a group of pieces per warp. Not measured.
constexpr int kEffectThreads = 256;
// Threads of a block that writes lengths, and lanes that share a row: eight pieces of 16 bytes are 64 numbers of 16
// bits. Not measured.
constexpr int kLengthThreads = 128, kLengthLanes = 8;

}  // namespace tilewise::cuda
