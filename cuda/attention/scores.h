// Scores: what turns raw products into them: scale, softcap, what is added, what is hidden.
// Reader: someone who follows a tile through the loop. The rules are those of core (pattern, score); this applies them.
#pragma once

#include <type_traits>

#include "../tiles/register_tile.h"
#include "queries.h"
#include "visits.h"

namespace tilewise::cuda {

// Products become scores; their factor waits for softmax where it can.
template <int RowTiles, int Keys>
__device__ __forceinline__ void scaleScores(RegisterTile<RowTiles, Keys>& scores, const ScoreScale& scale) {
  if (scale.hasCap()) {
#pragma unroll 1
    for (int block = 0; block < Keys / 8; ++block) {
#pragma unroll
      for (int slot = 0; slot < 2 * RowTiles; ++slot)
#pragma unroll
        for (int i = 0; i < 2; ++i) scores.at(slot, 0, i) = tanhf(scores.at(slot, 0, i) * scale.inCap);
      scores.rotate();
    }
  }
  if (!scale.canWait) scores.forEach([&](float& s, int, int, int) { s *= scale.factor; });
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
    if (!(Gathers && keys.visit.template isOfExtras<Pattern::kIsGrid>()) && isSeen) {
      const KeyRun run = keys.at(column).run();
      isSeen = !pattern.cut(sight, run).keys.isEmpty();
      const uint8_t* mask = isSeen ? tokenMask(pattern, run, query.token) : nullptr;
      if (mask) isSeen = *mask != 0;
    }
    if (!isSeen) score = -INFINITY;
  };
  // Unrolled for windows (few instructions) and grids (masked in most visits). Other patterns mask seldom and take
  // registers that small tiles lack: they loop.
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
      scores.rotate();
    }
  }
}

// Adds what the pattern adds to all scores of a key: a number of its run. Columns are few, rows share them.
template <class Pattern, bool Gathers, int RowTiles, int Keys>
__device__ __forceinline__ void addRunAddends(RegisterTile<RowTiles, Keys>& scores, const Pattern& pattern,
                                              const VisitKeys<Gathers>& keys, int firstColumn) {
  using Tile = RegisterTile<RowTiles, Keys>;
#pragma unroll 1
  for (int block = 0; block < Keys / 8; ++block) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int column = firstColumn + Tile::column(block, i);
      if (column >= keys.visit.count) continue;  // hidden, and of no run
      const float addend = addendOf(pattern, keys.at(column).run());
#pragma unroll
      for (int slot = 0; slot < Tile::kSlots; ++slot) scores.at(slot, 0, i) += addend;
    }
    scores.rotate();
  }
}

// Divides products by the lengths of their queries and keys. Compiled once, as addRules() is.
template <class Q, bool Gathers, int RowTiles, int Keys>
__device__ __forceinline__ void divideByLengths(RegisterTile<RowTiles, Keys>& scores, const AttentionProblem& p,
                                                const Work& work, const Q& queries, const VisitKeys<Gathers>& keys,
                                                bool areExtra, int firstRow, int firstColumn) {
  using Tile = RegisterTile<RowTiles, Keys>;
  const Sequence sequence = p.sequence(work.index);
  const ScoreQuery first = scoreQueryOf(sequence, queries.at(firstRow), p.kvHeadOf(work.map.firstHead));
  const float* const ofKeys = areExtra ? p.cosine.extras.data + p.cosine.rowOfExtras(first) + keys.visit.first
                                       : p.cosine.keys.data + p.cosine.rowOfKeys(first);
#pragma unroll 1
  for (int block = 0; block < Keys / 8; ++block) {
    float ofKey[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int column = firstColumn + Tile::column(block, i);
      ofKey[i] = 0;  // of no key
      if (column < keys.visit.count) ofKey[i] = ofKeys[areExtra ? column : keys.at(column).token];
    }
#pragma unroll
    for (int slot = 0; slot < Tile::kSlots; ++slot) {
      const auto query = queries.at(firstRow + Tile::row(slot));
      const int64_t token = sequence.queries.begin + query.token;
      const float ofQuery =
          p.cosine.queries.data[p.cosine.queries.row(sequence.batch, p.queryHeadOf(query.head), token)];
#pragma unroll
      for (int i = 0; i < 2; ++i) scores.at(slot, 0, i) *= ofQuery * ofKey[i];
    }
    scores.rotate();
  }
}

// Multiplies the scores of keys that are not hidden by their factors. Compiled once, as addRules() is.
template <class Q, bool Gathers, int RowTiles, int Keys>
__device__ __forceinline__ void multiplyByFactors(RegisterTile<RowTiles, Keys>& scores, const AttentionProblem& p,
                                                  const Work& work, const Q& queries, const VisitKeys<Gathers>& keys,
                                                  int firstRow, int firstColumn) {
  using Tile = RegisterTile<RowTiles, Keys>;
  const Sequence sequence = p.sequence(work.index);
  const int32_t kvHead = p.kvHeadOf(work.map.firstHead);
#pragma unroll 1
  for (int block = 0; block < Keys / 8; ++block) {
#pragma unroll
    for (int slot = 0; slot < Tile::kSlots; ++slot) {
      const auto row = p.scoreFactor.row(scoreQueryOf(sequence, queries.at(firstRow + Tile::row(slot)), kvHead));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores.at(slot, 0, i);
        if (score == kHidden) continue;
        score *= addendOf(p.scoreFactor, row, keys.at(firstColumn + Tile::column(block, i)).key(), 0);
      }
    }
    scores.rotate();
  }
}

// Adds the score rules. The code is long, so it is compiled once, for two columns, and the tile rotates past it.
template <class Q, bool Gathers, int RowTiles, int Keys>
__device__ __forceinline__ void addRules(RegisterTile<RowTiles, Keys>& scores, const AttentionProblem& p,
                                         const Work& work, const Q& queries, const VisitKeys<Gathers>& keys,
                                         int firstRow, int firstColumn) {
  using Tile = RegisterTile<RowTiles, Keys>;
  const Sequence sequence = p.sequence(work.index);  // again, because it would take registers of the whole loop
  const Token offset = offsetOf(p.window, sequence.queries.size(), sequence.keys.size());
  const int32_t kvHead = p.kvHeadOf(work.map.firstHead);  // of all rows
#pragma unroll 1
  for (int block = 0; block < Keys / 8; ++block) {
#pragma unroll
    for (int slot = 0; slot < Tile::kSlots; ++slot) {
      const auto query = queries.at(firstRow + Tile::row(slot));
      const ScoreQuery scoreQuery = scoreQueryOf(sequence, query, kvHead);
      constexpr bool kMayHavePositions = !std::is_same_v<Q, GridQueries>;
      const RulePositions& positions = p.positions;
      const bool havePositions = kMayHavePositions && positions.areGiven();
      const Token position = havePositions ? positions.ofQuery(sequence.batch, query.token) : query.token + offset;
      float sum[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) sum[i] = scores.at(slot, 0, i) == kHidden ? kHidden : 0;
      p.rules.forEach([&](const auto& rule) {
        if (!rule.isPresent()) return;
        const auto& row = rule.row(scoreQuery);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (sum[i] == kHidden) continue;
          const ScoreKey key = keys.at(firstColumn + Tile::column(block, i)).key();
          const Token keyPosition = havePositions ? positions.keysOf(sequence.batch)[key.token] : key.token;
          sum[i] = addUnlessHidden(sum[i], addendOf(rule, row, key, position - keyPosition));
        }
      });
#pragma unroll
      for (int i = 0; i < 2; ++i) scores.at(slot, 0, i) = addUnlessHidden(sum[i], scores.at(slot, 0, i));
    }
    scores.rotate();
  }
}

// Whether the rules change scores of the warp's keys, as far as their effects are known. Asked here because an answer
// that visits bring along takes a register of the whole loop.
template <bool Gathers>
__device__ __forceinline__ bool mayChange(const AttentionParams& p, const Work& work, const VisitKeys<Gathers>& keys,
                                          int firstKey, int count) {
  const TileEffects effects{p.effectsOf(work.index, block_index())};
  if (!effects.areKnown()) return true;
  bool isChanged = false;
  for (int i = lane_id(); i < count && !isChanged; i += 32) {
    isChanged = firstKey + i < keys.visit.count && !effects.isUnchanged(keys.at(firstKey + i).token);
  }
  return ballot(isChanged) != 0;
}

// Products of a visit become scores, by the rules in their order. Returns whether some may be hidden.
template <class L, class Q>
__device__ __forceinline__ bool applyRules(RegisterTile<L::kRowTiles, L::kWarpKeys>& scores, const AttentionParams& p,
                                           const Work& work, const typename L::Pattern& pattern, const Q& queries,
                                           const Visit& visit, const ScoreScale& scale) {
  const VisitKeys<L::kGathers> keys{visit, L::slots()};
  if constexpr (L::kGathers) {
    if (L::kHasFactors && p.problem.cosine.isUsed) {
      const bool areExtra = L::kHasExtraKeys && visit.isOfExtras<L::Pattern::kIsGrid>();
      divideByLengths(scores, p.problem, work, queries, keys, areExtra, L::firstRow(), L::firstKey());
    }
    scaleScores(scores, scale);
  }
  bool isMasked = !visit.isInterior;
  if (isMasked) hideUnseen(scores, pattern, queries, keys, L::firstRow(), L::firstKey());
  if constexpr (L::kGathers) {
    if (L::kHasFactors && p.problem.scoreFactor.isPresent() && !visit.isOfExtras<L::Pattern::kIsGrid>()) {
      multiplyByFactors(scores, p.problem, work, queries, keys, L::firstRow(), L::firstKey());
    }
  }
  if constexpr (L::Pattern::kHasAddends) {
    if (pattern.hasAddends() && !visit.isOfExtras<L::Pattern::kIsGrid>()) {
      addRunAddends(scores, pattern, keys, L::firstKey());
    }
  }
  if constexpr (L::kGathers) {
    if (p.problem.rules.areAny() && !visit.isOfExtras<L::Pattern::kIsGrid>() &&
        mayChange(p, work, keys, L::firstKey(), L::kWarpKeys)) {
      addRules(scores, p.problem, work, queries, keys, L::firstRow(), L::firstKey());
      isMasked = true;
    }
  }
  return isMasked;
}

}  // namespace tilewise::cuda
