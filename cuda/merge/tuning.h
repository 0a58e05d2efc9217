// The numbers to tune in a GPU's merge; none of them is measured yet. Reader: someone with a GPU and a benchmark.
// Host and device read the same numbers.
#pragma once

#include <cstdint>

namespace tilewise::cuda {

// Threads of a block; each warp merges rows of its own. Not measured.
constexpr int kMergeThreads = 128;
constexpr int kMergeWarps = kMergeThreads / 32;
// Parts that travel with the launch; more are in memory. Budget: a launch takes 4 KB of parameters.
constexpr int32_t kInlineParts = 32;

}  // namespace tilewise::cuda
