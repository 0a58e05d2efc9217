// The numbers to tune in the CPU's linear attention. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Tokens of a chunk unless the caller says otherwise.
constexpr int32_t kLinearChunk = 64;

// Groups of chunks per sequence and head, at most, and tokens of a group, at least. They depend on the problem alone,
// since the order of sums does. Not measured.
constexpr int64_t kMostGroups = 64;
constexpr Token kGroupTokens = 1024;

}  // namespace tilewise::cpu
