// The numbers to tune in a GPU's local linear attention: 'budget' means that shared memory or the chip allow no more;
// none of them is measured yet. Reader: someone with a GPU and a benchmark. Host and device read the same numbers.
#pragma once

#include "../linear/tuning.h"

namespace tilewise::cuda {

// Queries and keys of a tile, and dims of a strip: those of linear attention's products (kChunkTokens, kStripDims).
// Strips of a row whose weighted sums are in registers; rows of more are passed over once for each. Budget.
constexpr int kColumnStrips = 2;

// Residuals of a row that are remembered, at most (the CPU's are 32): of 128 dims they are 512 KB per multiprocessor.
constexpr int32_t kMostKeptResiduals = 16;

}  // namespace tilewise::cuda
