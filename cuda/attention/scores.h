// Scores: what turns raw products into them: scale, softcap, what is added, what is hidden.
// Reader: someone who adds a modifier. The rules are those of core (patterns, softmax.h); this applies them to a tile.
#pragma once

#include "../../core/base/softmax.h"
#include "../tiles/register_tile.h"
#include "queries.h"
#include "visits.h"

namespace tilewise::gpu {

// Raw products become log2 units by a factor that exp2 takes along in its argument, at no cost. Where something is
// added to the scores, or the factor is not positive and maxima of raw products would be minima, tiles are multiplied.
struct ScoreScale {
  float factor;
  bool isApplied;  // by scaleScores(); then softmax has nothing left to multiply
  float inCap;     // products to softcap's argument; 0: no softcap

  __device__ __forceinline__ explicit ScoreScale(const AttentionProblem& p)
      : factor((p.softcap > 0 ? p.softcap : p.scale) * kLog2E),
        isApplied(p.hasScoreOperands() || !(factor > 0)),
        inCap(p.softcap > 0 ? p.scale / p.softcap : 0) {}

  __device__ __forceinline__ float left() const { return isApplied ? 1.0f : factor; }
};

template <int RowTiles, int Keys>
__device__ __forceinline__ void scaleScores(RegisterTile<RowTiles, Keys>& scores, const ScoreScale& scale) {
  if (scale.inCap != 0) {
#pragma unroll 1
    for (int block = 0; block < Keys / 8; ++block) {
#pragma unroll
      for (int slot = 0; slot < 2 * RowTiles; ++slot)
#pragma unroll
        for (int i = 0; i < 2; ++i) scores.at(slot, 0, i) = tanhf(scores.at(slot, 0, i) * scale.inCap);
      scores.turn();
    }
  }
  if (scale.isApplied) scores.forEach([&](float& s, int, int, int) { s *= scale.factor; });
}

// The keys of a visit by column.
template <bool Gathers>
struct VisitKeys {
  const Visit& visit;
  saddr slots;

  __device__ __forceinline__ KeySlot at(int column) const {
    if constexpr (Gathers) {
      const uint4 slot = ld_shared_128(slots + column * int(sizeof(KeySlot)));
      return {Token(slot.x), {Token(slot.y), Token(slot.z)}, Token(slot.w)};
    } else {
      return {visit.first + column, {0, 0}, visit.first + column};
    }
  }
};

// Hides the keys that a query does not see. `firstRow` and `firstColumn` of the warp's tile within the block's.
template <class Pattern, class Q, bool Gathers, int RowTiles, int Keys>
__device__ __forceinline__ void hideUnseen(RegisterTile<RowTiles, Keys>& scores, const Pattern& pattern,
                                           const Q& queries, const VisitKeys<Gathers>& keys, int firstRow,
                                           int firstColumn) {
  using Tile = RegisterTile<RowTiles, Keys>;
  const auto hide = [&](float& score, const auto& query, const typename Pattern::Sight& sight, int column) {
    bool isSeen = column < keys.visit.count;
    if (!(Gathers && keys.visit.isExtra) && isSeen) {
      const KeyRun row = keys.at(column).run();
      isSeen = !pattern.cut(sight, row).keys.isEmpty();
      const uint8_t* mask = isSeen ? tokenMask(pattern, row, query.token) : nullptr;
      if (mask) isSeen = *mask != 0;
    }
    if (!isSeen) score = -INFINITY;
  };
  // Windows mask in a few instructions, grids in most visits; the code of others is long and seldom runs, and where
  // tiles are small for want of registers there are none for it.
  constexpr bool kIsShort = !Gathers || (Pattern::kRank > 1 && Keys >= 64);
  if constexpr (kIsShort) {
#pragma unroll
    for (int slot = 0; slot < Tile::kSlots; ++slot) {
      const auto query = queries.at(firstRow + Tile::row(slot));
      const typename Pattern::Sight sight = pattern.look(query.head, query.box());
#pragma unroll
      for (int block = 0; block < Keys / 8; ++block)
#pragma unroll
        for (int i = 0; i < 2; ++i) hide(scores.at(slot, block, i), query, sight, firstColumn + Tile::column(block, i));
    }
  } else {
#pragma unroll 1
    for (int block = 0; block < Keys / 8; ++block) {
#pragma unroll
      for (int slot = 0; slot < Tile::kSlots; ++slot) {
        const auto query = queries.at(firstRow + Tile::row(slot));
        const typename Pattern::Sight sight = pattern.look(query.head, query.box());
#pragma unroll
        for (int i = 0; i < 2; ++i) hide(scores.at(slot, 0, i), query, sight, firstColumn + Tile::column(block, i));
      }
      scores.turn();
    }
  }
}

// What is added to one query's scores. -inf hides.
template <int Rank>
struct Addends {
  const AttentionProblem& p;
  const Query<Rank>& query;
  int64_t biasRow, maskRow;
  Token position;
  float slope;

  __device__ __forceinline__ Addends(const AttentionParams& params, const Work& work, const Query<Rank>& q)
      : p(params.problem), query(q) {
    const int64_t token = work.sequence.queries.begin + q.token, firstKey = work.sequence.keys.begin;
    biasRow = p.bias.offset(work.sequence.batch, q.head, token, firstKey);
    maskRow = p.mask.offset(work.sequence.batch, q.head, token, firstKey);
    position = q.token + offsetOf(p.window, work.sequence.queries.size(), work.sequence.keys.size());
    slope = p.slopes ? p.slopes[work.sequence.batch * p.slopesBatch + q.head * p.slopesHead] * kLog2E : 0;
  }

  __device__ __forceinline__ float of(const KeySlot& key) const {
    float sum = 0;
    if (p.mask.data && !static_cast<const uint8_t*>(p.mask.data)[maskRow + key.token * p.mask.key]) return -INFINITY;
    if (p.bias.data) sum += biasToLog2(bias(biasRow + key.token * p.bias.key));
    if (p.relative) sum += biasToLog2(relative(key));
    if (p.slopes) {
      const Token distance = position - key.token;
      sum -= slope * float(distance < 0 ? -distance : distance);
    }
    return sum;
  }

 private:
  __device__ __forceinline__ float bias(int64_t at) const {
    if (p.bias.dtype == DType::float32) return static_cast<const float*>(p.bias.data)[at];
    const uint16_t bits = static_cast<const uint16_t*>(p.bias.data)[at];
    return p.bias.dtype == DType::float16 ? fromFloat16(bits) : fromBfloat16(bits);
  }
  __device__ __forceinline__ float relative(const KeySlot& key) const {
    int64_t at = query.head * p.relativeHead;
    const Token place[kMaxRank] = {key.at[0], key.at[1], key.place};
#pragma unroll
    for (int a = 0; a < Rank; ++a) {
      at += (place[a + kMaxRank - Rank] - query.place[a] + p.grid.kernel[a] - 1) * p.relativeAxis[a];
    }
    return p.relative[at];
  }
};

// Adds bias, mask, distances. The code is long, so it stands once per two columns and the tile is turned past it.
template <class Q, bool Gathers, int RowTiles, int Keys>
__device__ __forceinline__ void addOperands(RegisterTile<RowTiles, Keys>& scores, const AttentionParams& p,
                                            const Work& work, const Q& queries, const VisitKeys<Gathers>& keys,
                                            int firstRow, int firstColumn) {
  using Tile = RegisterTile<RowTiles, Keys>;
#pragma unroll 1
  for (int block = 0; block < Keys / 8; ++block) {
#pragma unroll
    for (int slot = 0; slot < Tile::kSlots; ++slot) {
      const auto query = queries.at(firstRow + Tile::row(slot));
      const Addends addends(p, work, query);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& s = scores.at(slot, 0, i);
        if (s == -INFINITY) continue;
        const float added = addends.of(keys.at(firstColumn + Tile::column(block, i)));
        s = added == -INFINITY ? added : s + added;
      }
    }
    scores.turn();
  }
}

// Products of a visit become scores, by the rules in their order. Returns whether some may be hidden.
template <class L, class Q>
__device__ __forceinline__ bool applyRules(RegisterTile<L::kRowTiles, L::kWarpKeys>& scores, const AttentionParams& p,
                                           const Work& work, const typename L::Pattern& pattern, const Q& queries,
                                           const Visit& visit, const ScoreScale& scale) {
  if constexpr (L::kGathers) scaleScores(scores, scale);
  const VisitKeys<L::kGathers> keys{visit, L::slots()};
  bool isMasked = !visit.isInterior;
  if (isMasked) hideUnseen(scores, pattern, queries, keys, L::firstRow(), L::firstKey());
  if constexpr (L::kGathers) {
    if (!visit.isExtra && p.problem.hasScoreOperands()) {
      addOperands(scores, p, work, queries, keys, L::firstRow(), L::firstKey());
      isMasked = true;
    }
  }
  return isMasked;
}

}  // namespace tilewise::gpu
