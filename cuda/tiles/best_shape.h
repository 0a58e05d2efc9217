// What best.h takes of a block of threads, for launches. Reader: whoever launches a kernel that keeps the best of a
// list. Not measured.
#pragma once

namespace tilewise::cuda {

constexpr int kListThreads = 256;
constexpr int kListWarps = kListThreads / 32;
// Three sums per warp, two buffers.
constexpr int kListSharedBytes = 2 * kListWarps * 3 * 4;

}  // namespace tilewise::cuda
