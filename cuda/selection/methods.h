// How the two methods search a candidate: which two keys are scored next, and what the scores lead to.
// Reader: someone who compares this with the rule in core/op/selection.h. A quad of lanes has one candidate; its lanes
// hold the same numbers.
#pragma once

#include "../prims/prims.h"
#include "params.h"

namespace tilewise::cuda {

// A chunk, halved down to a token. Between steps left() and right() are keys of it, also when it is done.
struct StagedSearch {
  Token low, high;
  float best = -INFINITY;

  static __device__ __forceinline__ int64_t count(const SelectionParams& p, int64_t slot, const Range& keys) {
    return p.stage == 0 ? ceilDiv<int64_t>(keys.size(), p.now().chunk) : p.counts[slot];
  }
  static __device__ __forceinline__ Token startOf(const SelectionParams& p, int64_t slot, int64_t candidate) {
    return p.stage == 0 ? Token(p.problem.sink + candidate * p.now().chunk) : p.starts[slot * p.candidates + candidate];
  }
  static __device__ __forceinline__ Range tokensOf(const SelectionParams& p, int64_t slot, int64_t candidate,
                                                   const Range& keys) {
    const Token start = startOf(p, slot, candidate);
    return {start, start + smaller(p.now().chunk, keys.end - start)};
  }

  __device__ __forceinline__ StagedSearch(const SelectionParams&, const Range& tokens)
      : low(tokens.begin), high(tokens.end) {}

  __device__ __forceinline__ bool isDone() const { return low == high; }
  __device__ __forceinline__ Token middle() const { return (low + high) >> 1; }
  __device__ __forceinline__ Token left() const { return (low + middle()) >> 1; }
  __device__ __forceinline__ Token right() const { return (middle() + high) >> 1; }
  // Goes on in the better half; of equals in the left one.
  __device__ __forceinline__ void take(float leftScore, float rightScore) {
    if (isDone()) return;
    const bool isRight = rightScore > leftScore;
    const Token cut = middle();
    best = larger(best, isRight ? rightScore : leftScore);
    low = isRight ? cut : low;
    high = isRight ? high : cut;
    if (high - low <= 1) high = low;
  }
};

// A range of blocks: the sampled keys of the block in its middle, two by two.
struct TreeSearch {
  Range tokens;
  Token stride, samples, next = 0;
  float best = -INFINITY;

  static __device__ __forceinline__ int64_t count(const SelectionParams& p, int64_t slot, const Range&) {
    return p.counts[slot];
  }
  static __device__ __forceinline__ Range tokensOf(const SelectionParams& p, int64_t slot, int64_t candidate,
                                                   const Range& keys) {
    const Range blocks = p.halves[slot * p.candidates + candidate];
    const int64_t first = keys.begin + int64_t(blocks.begin + blocks.size() / 2) * p.now().chunk;
    return {Token(first), Token(smaller<int64_t>(first + p.now().chunk, keys.end))};
  }

  __device__ __forceinline__ TreeSearch(const SelectionParams& p, const Range& tokens)
      : tokens(tokens), stride(p.problem.strideKeys), samples(ceilDiv(tokens.size(), stride)) {}

  __device__ __forceinline__ bool isDone() const { return next >= samples; }
  __device__ __forceinline__ Token left() const { return sampled(tokens, stride, smaller(next, samples - 1)); }
  __device__ __forceinline__ Token right() const { return sampled(tokens, stride, smaller(next + 1, samples - 1)); }
  __device__ __forceinline__ void take(float leftScore, float rightScore) {
    best = larger(best, larger(leftScore, rightScore));
    next += 2;
  }
};

}  // namespace tilewise::cuda
