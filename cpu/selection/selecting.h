// What both methods of selection share: a head's keys and sampled rows, and keeping the best.
// Reader: job.cc and tree_selection.cc.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "../../core/op/selection.h"
#include "../runtime/carver.h"
#include "../runtime/kernels.h"
#include "../runtime/pool.h"

namespace tilewise::cpu {

std::shared_ptr<Job> treeJob(const SelectionProblem& problem, const Kernels& kernels);

inline int sampledRows(const Range& queries, Token stride) { return int(ceilDiv(queries.size(), stride)); }

inline SampledRows rowsOf(const SelectionProblem& p, int32_t b, int32_t head, const Range& queries, Token stride) {
  const int64_t at = p.query.offset(b, 0, p.queryHeadOf(head));
  return {static_cast<const char*>(p.query.data) + at * sizeOf(p.dtype),
          p.dtype,
          p.query.token,
          p.query.dim,
          p.headDim,
          queries,
          stride,
          sampledRows(queries, stride)};
}

inline KeyList keysOf(const SelectionProblem& p, int32_t b, int32_t head) {
  return {p.key.data, p.keyType, p.keyRowsOf(b, head), p.key.dim, p.headDim, nullptr, 0};
}

// Calls keep(i), ascending, for the `most` entries with the highest scores; of equals the lower ones. No score is NaN.
// `order` has room for `count` numbers.
template <class Keep>
void forEachBest(const float* scores, int64_t count, int64_t most, uint64_t* order, Keep&& keep) {
  if (count <= most) {
    for (int64_t i = 0; i < count; ++i) keep(i);
    return;
  }
  // Descending score, then ascending index, as one number: a float's bits in the order of integers, turned round.
  for (int64_t i = 0; i < count; ++i) {
    const float score = scores[i] + 0.0f;  // -0 becomes 0
    uint32_t bits;
    std::memcpy(&bits, &score, sizeof bits);
    const uint32_t ascending = bits & 0x80000000 ? ~bits : bits | 0x80000000;
    order[i] = uint64_t(~ascending) << 32 | uint64_t(i);
  }
  std::nth_element(order, order + most, order + count);
  std::sort(order, order + most, [](uint64_t a, uint64_t b) { return uint32_t(a) < uint32_t(b); });
  for (int64_t i = 0; i < most; ++i) keep(int64_t(uint32_t(order[i])));
}

// Writes list number `list` of stage `s`: startOf(i) of what forEachBest() keeps, and the padding behind.
template <class StartOf>
void writeList(const SelectionProblem& p, int32_t s, int64_t list, const float* scores, int64_t count, uint64_t* order,
               StartOf&& startOf) {
  const Token keep = p.stage[s].keep;
  int32_t* starts = p.stage[s].starts + list * keep;
  Token n = 0;
  forEachBest(scores, count, keep, order, [&](int64_t i) { starts[n++] = startOf(i); });
  p.stage[s].counts[list] = n;
  for (; n < keep; ++n) starts[n] = kNoEntry;
}

}  // namespace tilewise::cpu
