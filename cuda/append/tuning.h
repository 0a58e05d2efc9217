// The numbers to tune in a GPU's append; none of them is measured yet. Reader: someone with a GPU and a benchmark.
// Host and device read the same numbers.
#pragma once

namespace tilewise::cuda {

// Threads of a block; each warp copies rows of its own. Not measured.
constexpr int kAppendThreads = 128;
constexpr int kAppendWarps = kAppendThreads / 32;

}  // namespace tilewise::cuda
