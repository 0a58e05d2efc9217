// The numbers to tune in the CPU's statistics of attention. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Work items of a problem, about; fewer where queries are few. They depend on the problem alone, since the order of
// sums does. Not measured.
constexpr int64_t kStatsItems = 64;

// Keys that are scored as one.
constexpr int kStatsKeys = 256;

// Keys whose products with a panel of rows are transposed together; they stay in the L1 cache.
constexpr int kMultipliedKeys = 48;

// Rows (queries times heads) of a strip, fewer where the strip's weights would take more floats than kStoredWeights.
// Where even the fewest rows take more, scores are computed twice and not stored.
constexpr int kStripRows = 128, kFewestStripRows = 32;
constexpr int64_t kStoredWeights = 1 << 22;

// Keys that are requested before they are converted. Not measured against others.
constexpr int kStagedAhead = 8;

// Keys of few rows are requested so many ahead. Not measured against others.
constexpr int kDottedAhead = 16;

// With up to so many rows products are taken with dims in the lanes: a panel of few rows takes as long as a full one.
constexpr int kDottedRows = 8;

// Keys of an item that adds up the parts.
constexpr int64_t kAddedKeys = 4096;

}  // namespace tilewise::cpu
