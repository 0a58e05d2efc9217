// The request of sampledBlocks(): the rule and the lengths of sequences in, block lists out.
// Reader: someone who follows core/pattern/sampled_blocks.h to lib/patterns/sampled-blocks.ts.
#pragma once

#include <napi.h>

namespace tilewise {

// numbers: the fields of sampling.cc. lengths: [queries, keys] of each sequence. table: KeepProbability's, float64.
// Returns { blockQueries, begins, counts, starts, addends }, addends where one is not 0.
Napi::Value drawBlocks(Napi::Env env, const Napi::Value& numbers, const Napi::Value& lengths, const Napi::Value& table);

}  // namespace tilewise
