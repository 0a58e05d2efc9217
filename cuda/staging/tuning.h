// The numbers to tune in staging; none of them is measured yet. Reader: someone with a GPU and a benchmark.
#pragma once

#include <cstdint>

namespace tilewise::cuda {

// Packed at a time: small enough to stay in the processor's cache until the queue has copied it. Not measured.
constexpr int64_t kPackBytes = 256 << 10;
// Brought back at a time where results have gaps: every piece is waited for. Not measured.
constexpr int64_t kUnpackBytes = 4 << 20;

}  // namespace tilewise::cuda
