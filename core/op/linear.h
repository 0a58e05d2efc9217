// LinearProblem: linear attention with decay. Per KV head a state S of features x valueDim goes from token to token:
//   S_t = exp(decay_t) S_{t-1} + phi(k_t) v_t^T,   out_t = scale phi(q_t) S_t   (the token itself included)
// and with `isNormalized` a row z_t = exp(decay_t) z_{t-1} + phi(k_t), out_t = scale phi(q_t) S_t / (phi(q_t) z_t +
// eps). Not causal: one state over all keys, without decay. Reader: backend authors. Idea: Katharopoulos et al. (arXiv
// 2006.16236), RetNet (2307.08621), Lightning Attention-2 (2401.04658), BASED (2402.18668).
#pragma once

#include <memory>

#include "../base/box.h"
#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/placed.h"

namespace tilewise {

// What phi does to a row of q or k. taylor2 is 1 + s + s^2 / 2 of s = q.k / sqrt(headDim), as a product of features:
// 1, x_a / headDim^(1/4), x_a x_b / sqrt(headDim) for a < b and x_a x_a / sqrt(2 headDim).
enum class FeatureMap : int32_t { identity = 0, elu1 = 1, relu = 2, taylor2 = 3 };

// Elements of a row, and tokens of a chunk, at most: what the loops' index arithmetic and memory have room for.
constexpr int32_t kMostLinearDim = 4096, kMostTaylorDim = 64, kMostChunk = 1024;

// The tokens of a sequence, and whose state it has.
struct LinearSequence {
  int64_t index = 0;
  int64_t batch = 0;
  Range queries, keys;
};

// States that the jobs of one call hand on. Filled by the backend that runs the call.
struct LinearStates {
  std::unique_ptr<float[]> memory;
  bool areSplit = false;
};

// How a device divides a call, for explain(); of the delta rule and of cumulative attention, too. Not split: one pass
// over every sequence.
struct LinearPasses {
  int32_t chunk = 0;  // tokens
  int64_t groups = 1;  // of the longest sequence
  bool isSplit = false;
  double bytes = 0;  // that are read and written of memory, what caches hold aside
};

struct LinearProblem {
  int32_t batch = 0, queryHeads = 0, kvHeads = 0;  // query head h reads KV head h * kvHeads / queryHeads
  Token queries = 0, keys = 0;  // the same number if causal
  int32_t headDim = 0, valueDim = 0;
  DType dtype = DType::float32;
  FeatureMap featureMap = FeatureMap::identity;
  bool isCausal = true, isNormalized = false;
  float scale = 1, eps = 0;
  int32_t chunk = 0;  // tokens that are computed as one; 0: the backend's choice
  Operand query, key, value, out;

  Placed<const float> decay = nullptr;  // 0 or less, natural log; null: none
  int64_t decayBatch = 0, decayToken = 0, decayHead = 0;  // per head: the others are 0

  // [sequences][kvHeads][features][valueDim] and [sequences][kvHeads][features], row-major. Those that go in may be
  // those that come out.
  Placed<const float> stateIn = nullptr, normalizerIn = nullptr;
  Placed<float> state = nullptr, normalizer = nullptr;

  // Packed: running totals of the tokens of batch entry 0, on the host.
  const int32_t* cuSeqlens = nullptr;
  int32_t sequences = 0;  // batch, unless packed

  std::shared_ptr<LinearStates> states = std::make_shared<LinearStates>();

  bool isEmpty() const { return !out.data && !state && !normalizer; }
  TW_HOST_DEVICE int32_t headsPerState() const { return queryHeads / kvHeads; }

  TW_HOST_DEVICE int32_t features() const {
    return featureMap == FeatureMap::taylor2 ? 1 + headDim + headDim * (headDim + 1) / 2 : headDim;
  }
  TW_HOST_DEVICE int64_t stateAt(int64_t sequence, int32_t head) const {
    return (sequence * kvHeads + head) * features() * valueDim;
  }
  TW_HOST_DEVICE int64_t normalizerAt(int64_t sequence, int32_t head) const {
    return (sequence * kvHeads + head) * features();
  }

  Token longestSequence() const {
    if (!cuSeqlens) return keys;
    Token longest = 0;
    for (int32_t s = 0; s < sequences; ++s) longest = larger(longest, sequence(s).keys.size());
    return longest;
  }
  TW_HOST_DEVICE LinearSequence sequence(int64_t s) const {
    if (!cuSeqlens) return {s, s, {0, queries}, {0, keys}};
    const Range tokens{cuSeqlens[s], cuSeqlens[s + 1]};
    return {s, 0, tokens, tokens};
  }
};

}  // namespace tilewise
