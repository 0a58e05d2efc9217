// attendWide(): the fused loop for rows of more than 256 dims, whose outputs fill the registers of a whole block.
// Reader: start at attendWide() at the end. Every score is computed once: warps divide the keys, weights go through
// shared memory, and each warp adds the values of its own columns. Queries, keys and values come in strips.
#pragma once

#include "../../tiles/mma.h"
#include "../non_finite.h"
#include "../online_softmax.h"
#include "../scores.h"
#include "attend.h"
#include "epilogue.h"
#include "wide_steps.h"

namespace tilewise::cuda {

using WideScores = RegisterTile<1, 16>;
using WideOutput = RegisterTile<1, kWideColumns / 8>;  // of one of eight warps

// S += Q K^T of a strip of dims, for the calling warp's keys.
template <class L>
__device__ __forceinline__ void addStripOfKeys(WideScores& scores, int buffer) {
  using Product = Mma<typename L::E>;
  const auto queries = L::queries(buffer);
  const auto keys = L::keys(buffer);
  const saddr rowsAt = Product::rowsAt(queries, 0), columnsAt = Product::columnsAt(keys, L::firstKey());
#pragma unroll Product::kUnroll
  for (int step = 0; step < L::kStripDims / Product::kDepth; ++step) {
    typename Product::Rows rows;
    typename Product::Columns columns;
    Product::loadRows(rows, queries, rowsAt, 0, step);
    Product::loadColumns(columns, keys, columnsAt, 0, step);
    Product::multiply(scores.v[0][0], scores.v[0][1], rows, columns);
  }
}

// Scores of all warps' keys become weights in shared memory. `isMasked`: of the calling warp, then of any.
template <class L>
__device__ __forceinline__ void weigh(WideScores& scores, OnlineSoftmax<2>& softmax, const AttentionParams& p,
                                      const Work& work, bool& isMasked, float (&rescale)[2]) {
  const int warp = warp_id();  // here, not below: every lane of the warp takes part in its shuffle
  const auto agree = [&] {
    isMasked = sync_block_or(isMasked);
    if (isMasked) noteSeen(scores, L::seen(warp));
  };
  if (p.problem.activation.isSoftmax()) {
    softmax.step(scores, p.scale.inSoftmax, rescale, [&](float (&max)[2]) {
#pragma unroll
      for (int slot = 0; slot < 2; ++slot) {
        if (lane_id() % 4 == 0) st_shared(L::maximum(warp, WideScores::row(slot)), max[slot]);
      }
      agree();
#pragma unroll
      for (int slot = 0; slot < 2; ++slot)
#pragma unroll
        for (int w = 0; w < L::kWarps; ++w) {
          max[slot] = max_f32(max[slot], ld_shared_f32(L::maximum(w, WideScores::row(slot))));
        }
    });
  } else {
    agree();
    softmax.activate(scores, p.problem.activation, p.problem.sequence(work.index).keysInUse(), rescale);
  }
#pragma unroll
  for (int slot = 0; slot < 2; ++slot)
#pragma unroll
    for (int block = 0; block < 2; ++block) {
      const int column = L::weightColumn(block) + WideScores::column(0, 0);
      Element<typename L::E>::store(L::weights().element(WideScores::row(slot), column), scores.at(slot, block, 0),
                                    scores.at(slot, block, 1));
    }
}

// Values that are not finite go to the rows that see them, and are zero from then on: see non_finite.h.
template <class L>
__device__ __forceinline__ void repairStrip(WideScores& sums, const WideStep& step) {
  using E = typename L::E;
  const auto values = L::values(step.buffer);
  const int warp = warp_id();  // as above
#pragma unroll 1
  for (int block = 0; block < 2; ++block) {
#pragma unroll 1
    for (int key = 0; key < L::kPartKeys; ++key) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float v = Element<E>::load(values.element(key, warp * 16 + WideScores::column(block, i)));
        if (isFinite(v)) continue;
        const int bit = step.part * L::kPartOwn + key % L::kPartOwn;
#pragma unroll
        for (int slot = 0; slot < 2; ++slot) {
          const uint32_t seen = ld_shared_u32(L::seen(key / L::kPartOwn) + WideScores::row(slot) * 4);
          if (seen >> bit & 1) sums.at(slot, 0, i) += v;
        }
      }
    }
    sums.rotate();
  }
  sync_block();
  zeroNonFinite(values, warp * L::kPartOwn, L::kPartOwn);
  sync_block();
}

// sums += P V of a part of the keys, for the calling warp's 16 columns of a strip.
template <class L>
__device__ __forceinline__ void addStripOfValues(WideScores& sums, const WideStep& step) {
  using Product = Mma<typename L::E>;
  const auto values = L::values(step.buffer);
  const auto weights = L::weights();
  const auto depthAt = Product::depthAt(values, 0);
  constexpr int kSteps = L::kPartKeys / Product::kDepth;
  const int warp = warp_id();
#pragma unroll Product::kUnroll
  for (int i = 0; i < kSteps; ++i) {
    typename Product::Rows rows;
    typename Product::Columns columns;
    Product::loadWeights(rows, weights, step.part * kSteps + i);
    Product::loadDepth(columns, values, depthAt, i, warp);
    Product::multiply(sums.v[0][0], sums.v[0][1], rows, columns);
  }
}

// O = rescale * O + sums, in the columns of a strip.
template <class L>
__device__ __forceinline__ void addSums(WideOutput& output, WideScores& sums, int strip, const float (&rescale)[2]) {
#pragma unroll
  for (int s = 0; s < L::kStrips; ++s) {
    if (s != strip) continue;
    sums.forEach([&](float& sum, int slot, int block, int i) {
      float& o = output.at(slot, 2 * s + block, i);
      o = o * rescale[slot] + sum;
    });
  }
}

// Outputs and lse, or partial results for the combine kernel.
template <class L, class Q>
__device__ __forceinline__ void finishWide(const AttentionParams& p, const Work& work, const Q& queries,
                                           const OnlineSoftmax<2>& softmax, WideOutput& output) {
  using E = typename L::E;
  const bool isPartial = p.splits > 1;
  const int ownWarp = warp_id();  // as above
  SoftmaxState states[2];
#pragma unroll
  for (int slot = 0; slot < 2; ++slot) {
    states[slot] = softmax.finish(slot, p.scale.ofMaximum);
    if (lane_id() % 4 == 0) st_shared(L::maximum(ownWarp, WideScores::row(slot)), states[slot].sum);
  }
  sync_block();
  using Bits = typename Element<E>::Bits;
  Bits* out[2] = {};
  float* partial[2] = {};
  float factor[2];
  bool isClosed[2];
#pragma unroll
  for (int slot = 0; slot < 2; ++slot) {
    SoftmaxState& state = states[slot];
    state.sum = 0;
#pragma unroll
    for (int warp = 0; warp < L::kWarps; ++warp) state.sum += ld_shared_f32(L::maximum(warp, WideScores::row(slot)));
    const auto query = queries.at(WideScores::row(slot));
    const OutputRow of = outputRowOf(work.sequence, query);
    factor[slot] = isPartial ? 1 : finishRow(p.problem, state, of);
    isClosed[slot] = !isPartial && p.problem.gate.closes(of);
    if (!query.isReal) continue;
    const bool isFirstLane = ownWarp == 0 && lane_id() % 4 == 0;
    if (isPartial) {
      const int64_t row = p.partial(work.index, query.head, query.token, work.split);
      if (isFirstLane) p.partialStates[row] = {state.max, state.sum};
      partial[slot] = p.partialOutputs + row * p.problem.valueDim;
    } else {
      if (isFirstLane) storeLse(p, work, query, state.lse());
      out[slot] = static_cast<Bits*>(p.problem.out.data) + outputOffset(p, work, query);
    }
  }
  // A strip at a time: stores of all columns are a quarter of the kernel's code.
#pragma unroll 1
  for (int first = ownWarp * 16; first < L::kStrips * L::kStripColumns; first += L::kStripColumns) {
#pragma unroll
    for (int slot = 0; slot < 2; ++slot)
#pragma unroll
      for (int block = 0; block < 2; ++block)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int column = first + WideScores::column(block, i);
          if (column >= p.problem.valueDim) continue;
          const float value = isClosed[slot] ? 0 : output.at(slot, block, i) * factor[slot];
          if (partial[slot]) partial[slot][column] = value;
          if (out[slot]) out[slot][column * p.problem.out.dim] = Element<E>::fromFloat(value);
        }
    output.template rotate<2>();
  }
}

template <class L>
__device__ __forceinline__ void attendWide(const AttentionParams& p) {
  Work work = workOf(p, block_index());
  typename L::Pattern pattern;
  patternOf(p, work, pattern);
  const auto queries = queriesOf(p, work, pattern, L::kRows);
  if (queries.count == 0) return;

  // A tile that the gate closes visits no keys, and what it writes is 0.
  Token extras = p.problem.extraTokens;
  if (areClosed(p, work, queries)) {
    work.clip = {};
    extras = 0;
  }

  WideSteps<L> steps(p, work, pattern, queries, extras);
  OnlineSoftmax<2> softmax;
  WideOutput output;
  WideScores sums;  // of scores, then of values
  output.setZero();
  float rescale[2] = {};
  bool isMasked = false;

  // The first iteration only copies: copies are large, so they are instantiated once.
  for (bool isFirst = true; isFirst || steps.areAny(); isFirst = false) {
    cp_async_wait<0>();
    sync_block();  // the step's strip has landed, and nobody reads the one before it any more
    const WideStep step = steps.current();
    steps.next();
    if (isFirst) continue;
    if (step.isOfKeys ? step.strip == 0 : step.part == 0) sums.setZero();
    if (step.isOfKeys) {
      addStripOfKeys<L>(sums, step.buffer);
      if (!step.isLast) continue;
      isMasked = applyRules<L>(sums, p, work, pattern, queries, steps.visit(), p.scale);
      weigh<L>(sums, softmax, p, work, isMasked, rescale);
      continue;
    }
    if (isMasked && sync_block_or(findNonFinite(L::values(step.buffer), warp_id() * L::kPartOwn, L::kPartOwn))) {
      repairStrip<L>(sums, step);
    }
    addStripOfValues<L>(sums, step);
    if (step.part == L::kParts - 1) addSums<L>(output, sums, step.strip, rescale);
  }
  finishWide<L>(p, work, queries, softmax, output);
}

}  // namespace tilewise::cuda
