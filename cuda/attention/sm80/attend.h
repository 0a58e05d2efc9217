// attend(): the fused loop for tensor cores that a warp feeds itself (mma.sync: sm_80 and everything after it).
// Reader: start at attend() at the end. For each visit S = Q K^T, modify, softmax, O += P V; scores never leave
// registers. Idea: FlashAttention-2 (arXiv 2307.08691): warps divide the queries, values are copied while scores are
// computed, the next keys while weights are. With few queries warps divide the keys instead and never wait for each
// other.
#pragma once

#include "epilogue.h"
#include "layout.h"
#include "../non_finite.h"
#include "../online_softmax.h"
#include "copy_rows.h"
#include "../scores.h"

namespace tilewise::gpu {

// S = Q K^T for the calling warp's rows and keys.
template <class L>
__device__ __forceinline__ void multiplyKeys(RegisterTile<L::kRowTiles, L::kWarpKeys>& scores) {
  using Product = Mma<typename L::E>;
  const auto queries = L::queries();
  const auto keys = L::keys();
  const saddr rowsAt = Product::rowsAt(queries, L::firstRow()), columnsAt = Product::columnsAt(keys, L::firstKey());
  scores.setZero();
#pragma unroll Product::kUnroll
  for (int step = 0; step < L::kDim / Product::kDepth; ++step) {
    typename Product::Rows rows[L::kRowTiles];
#pragma unroll
    for (int r = 0; r < L::kRowTiles; ++r) Product::loadRows(rows[r], queries, rowsAt, r, step);
#pragma unroll
    for (int n = 0; n < L::kWarpKeys / 16; ++n) {
      typename Product::Columns columns;
      Product::loadColumns(columns, keys, columnsAt, n, step);
#pragma unroll
      for (int r = 0; r < L::kRowTiles; ++r) {
        Product::multiply(scores.v[r][2 * n], scores.v[r][2 * n + 1], rows[r], columns);
      }
    }
  }
}

// O += P V
template <class L>
__device__ __forceinline__ void addValues(
    RegisterTile<L::kRowTiles, L::kDim>& output,
    const typename Mma<typename L::E>::template Weights<L::kRowTiles, L::kWarpKeys>& weights) {
  using Product = Mma<typename L::E>;
  const auto values = L::values();
  const auto depthAt = Product::depthAt(values, L::firstKey());
  constexpr int kAtOnce = Product::columnsAtOnce(L::kDim) / 16;
#pragma unroll 1
  for (int first = 0; first < L::kDim / 16; first += kAtOnce) {
#pragma unroll
    for (int step = 0; step < L::kWarpKeys / Product::kDepth; ++step) {
      typename Product::Rows rows[L::kRowTiles];
#pragma unroll
      for (int r = 0; r < L::kRowTiles; ++r) weights.load(rows[r], r, step);
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) {
        typename Product::Columns columns;
        Product::loadDepth(columns, values, depthAt, step, first + n);
#pragma unroll
        for (int r = 0; r < L::kRowTiles; ++r) {
          Product::multiply(output.v[r][2 * n], output.v[r][2 * n + 1], rows[r], columns);
        }
      }
    }
    if constexpr (16 * kAtOnce < L::kDim) output.template turn<2 * kAtOnce>();
  }
}

// Keys or values of the block's head, those that every query sees besides included.
template <class E, bool kIsPlain>
struct KeySources {
  const AttentionParams& p;
  RowSource<E> rows;  // of the block's own keys
  const Operand& extra;
  int64_t extraOffset;
  bool isExtraAligned;

  __device__ __forceinline__ KeySources(const AttentionParams& params, const Work& work, const Operand& operand,
                                        const Operand& extraOperand, int dims, bool isAligned, bool isExtraAligned_)
      : p(params), rows(operand, 0, dims, isAligned), extra(extraOperand), isExtraAligned(isExtraAligned_) {
    const int32_t head = p.problem.kvHeadOf(work.map.firstHead);
    if (!kIsPlain && p.problem.pageSize > 0) {
      rows.base += operand.offset(0, 0, head);
      rows.pages = p.problem.pageTable + work.sequence.batch * p.problem.pageTableBatch;
      rows.page = operand.batch;
      rows.pageSize = p.problem.pageSize;
    } else {
      rows.base += operand.offset(work.sequence.batch, work.sequence.keys.begin, head);
    }
    extraOffset = extra.offset(work.sequence.batch, 0, head);
  }

  __device__ __forceinline__ RowSource<E> of(const Visit& visit) const {
    if (!kIsPlain && visit.isExtra) return RowSource<E>(extra, extraOffset, rows.dims, isExtraAligned);
    return rows;
  }
};

template <class L>
__device__ __forceinline__ auto keysOf(const typename L::Pattern& pattern, const Work& work,
                                       const Box<L::Pattern::kRank>& queries, const AttentionProblem& problem) {
  const typename L::Pattern::Sight sight = pattern.look(work.map.firstHead, queries);
  if constexpr (L::kGathers) {
    return GatherKeys<typename L::Pattern, L::kKeys, L::kOwnKeys>(pattern, sight, work.clip, problem.extraKeys);
  } else {
    return StreamKeys<typename L::Pattern, L::kKeys>(pattern, sight);
  }
}

template <class L>
__device__ __forceinline__ auto blockQueries(const AttentionParams& p, const Work& work,
                                             const typename L::Pattern& pattern) {
  if constexpr (L::kIsPlain) {
    return TokenQueries(p, work, pattern, L::kRows);
  } else {
    return queriesOf(p, work, pattern, L::kRows);
  }
}

template <class L>
__device__ __forceinline__ void attend(const AttentionParams& p) {
  using E = typename L::E;
  Work work = workOf(p, block_index());
  typename L::Pattern pattern;
  patternOf(p, work, pattern);
  const auto queries = blockQueries<L>(p, work, pattern);
  if (queries.count == 0) return;

  copyQueries<L::kThreads>(L::queries(), p, work, queries);
  const AttentionProblem& problem = p.problem;
  const KeySources<E, L::kIsPlain> keySource(p, work, problem.key, problem.extraKey, problem.headDim, p.keyIsAligned,
                                             p.extraKeyIsAligned);
  const KeySources<E, L::kIsPlain> valueSource(p, work, problem.value, problem.extraValue, problem.valueDim,
                                               p.valueIsAligned, p.extraValueIsAligned);
  auto keys = keysOf<L>(pattern, work, queries.box(), problem);
  const auto next = [&](Visit& visit) {
    if constexpr (L::kGathers) {
      return keys.next(visit, L::slots());
    } else {
      return keys.next(visit);
    }
  };

  const ScoreScale scale(problem);
  OnlineSoftmax<2 * L::kRowTiles> softmax;
  RegisterTile<L::kRowTiles, L::kDim> output;
  output.setZero();

  Visit visit{};
  bool hasVisit = false;
  const auto fetch = [&] {
    hasVisit = next(visit);
    if (hasVisit) copyVisit<L::kOwnKeys, L::kGathers>(L::keys(), keySource.of(visit), visit);
    cp_async_commit();
  };
  // Where fetching is long, for patterns, its code stands once: a first round has nothing to compute and only fetches.
  constexpr bool kFetchesFirst = !L::kIsPlain;
  if constexpr (!kFetchesFirst) {
    fetch();
    cp_async_wait<0>();
    sync_block();
  }
  for (bool isFirst = kFetchesFirst; hasVisit || isFirst; isFirst = false) {
    const Visit now = visit;
    RegisterTile<L::kRowTiles, L::kWarpKeys> scores;
    bool hasStray = false;
    if (!isFirst) {
      copyVisit<L::kOwnKeys, L::kGathers>(L::values(), valueSource.of(now), now);
      cp_async_commit();

      multiplyKeys<L>(scores);
      if constexpr (!L::kIsPlain) scaleScores(scores, scale);
      const VisitKeys<L::kGathers> visitKeys{now, L::slots()};
      bool isMasked = !now.isInterior;
      if (isMasked) hideUnseen(scores, pattern, queries, visitKeys, L::firstRow(), L::firstKey());
      if constexpr (!L::kIsPlain) {
        if (!now.isExtra && problem.hasScoreOperands()) {
          addOperands(scores, p, work, queries, visitKeys, L::firstRow(), L::firstKey());
          isMasked = true;
        }
      }

      // Values have landed, and nobody reads the keys any more.
      cp_async_wait<0>();
      if (isMasked) {
        hasStray = L::syncAny(findNonFinite(L::values(), warp_id() * L::kOwnKeys, L::kOwnKeys));
      } else {
        L::sync();
      }
    }
    fetch();

    if (!isFirst) {
      if (hasStray) noteSeen(scores, L::seen());
      float rescale[2 * L::kRowTiles];
      softmax.step(scores, scale.left(), rescale);
      const typename Mma<E>::template Weights<L::kRowTiles, L::kWarpKeys> weights(scores);
      output.scaleRows(rescale);
      if (hasStray) {
        sync_warp();
        addNonFinite<E, L::kWarpKeys>(output, L::values(), L::firstKey(), L::seen());
        L::sync();
        zeroNonFinite(L::values(), warp_id() * L::kOwnKeys, L::kOwnKeys);
        L::sync();
      }
      addValues<L>(output, weights);
    }

    // The next keys have landed, and nobody reads these values any more; the queries are everyone's.
    cp_async_wait<0>();
    if (isFirst) {
      sync_block();
    } else {
      L::sync();
    }
  }
  finish<L>(p, work, queries, softmax, output, scale);
}

}  // namespace tilewise::gpu
