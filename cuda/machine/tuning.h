// The numbers to tune in the host side of calls. Reader: someone with a GPU and a benchmark.
#pragma once

namespace tilewise::cuda {

// Calls on one GPU at the same time; more wait for their turn. Each has a stream and its pinned memory. Not measured.
constexpr int kMostThreads = 8;

}  // namespace tilewise::cuda
