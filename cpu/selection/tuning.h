// The numbers to tune in the CPU's selections, each with the measurement that chose it; 'budget' or 'not measured'
// where nothing did. Reader: whoever tunes. Plain numbers: the loops of every instruction set are compiled with them.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Sampled rows up to which dims are in the lanes, as in decode; more rows are in the lanes themselves. At most kLanes
// of every instruction set. Not measured.
constexpr int kDotRows = 4;
// Keys whose running best is kept while the strips of rows pass: a multiple of kTileRows and of kLanes of every
// instruction set. Not measured.
constexpr int kScoredKeys = 48;
// Blocks of queries that search the same chunks together while these are in the cache; first stage only, since later
// each block has its own. As many as bring so many rows: at 128k keys, which no cache holds, 8, 16 and 32 blocks of 16
// rows run at 42, 47 and 53 % of the FMA peak (AVX-512).
constexpr int32_t kBlocksPerItem = 32;
constexpr int32_t kRowsPerItem = 1024;
// Chunks that are searched level by level together, which gives lists of up to twice as many keys. 12 to 256 are equal
// within a few points.
constexpr int kChunksTogether = 64;
// Candidates worth a work item of their own. Not measured.
constexpr int64_t kLeastRange = 64;
// Tree: tokens that are scored together. Not measured.
constexpr int kTreeTokens = 256;

}  // namespace tilewise::cpu
