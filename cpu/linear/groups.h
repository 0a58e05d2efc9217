// Groups of consecutive chunks, which threads share where heads are too few: the jobs of a call, and how long groups
// are. Reader: linear/job.cc and cumulative/job.cc. What a group sums up begins with nothing, so groups need each other
// in kCarries alone; their number depends on the problem, never on threads.
#pragma once

#include "../../core/base/box.h"
#include "tuning.h"

namespace tilewise::cpu {

// Sums of all groups at once, what each begins with, then all outputs. Without groups the last job does everything.
enum ScanPhase : int32_t { kSums, kCarries, kOutputs, kScanPhases };

struct ChunkGroups {
  ChunkGroups(Token longest, Token chunk) {
    const int64_t chunks = ceilDiv<int64_t>(longest, chunk), least = ceilDiv<int64_t>(kGroupTokens, chunk);
    tokens = Token(chunk * larger(least, ceilDiv<int64_t>(chunks, kMostGroups)));
  }
  int64_t countOf(Token all) const { return larger<int64_t>(1, ceilDiv<int64_t>(all, tokens)); }
  Range at(int64_t group, Token all) const {
    const Token begin = Token(smaller<int64_t>(all, group * tokens));
    return {begin, Token(smaller<int64_t>(all, begin + tokens))};
  }

  Token tokens;  // of a group, whole chunks
};

}  // namespace tilewise::cpu
