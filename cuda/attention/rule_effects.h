// What the score rules do to the keys of a tile: a kernel of its own notes it in a table, visits ask the table.
// Reader: someone who follows a mask to a GPU. core/score/effect.h says what the answers mean. A row of the table is a
// tile of the attention kernel; heads and sequences that read the same values share rows.
#pragma once

#include "../../core/score/effect.h"
#include "queries.h"

namespace tilewise::cuda {

constexpr int kEffectKeysPerLane = EffectTable::kPieces * kEffectKeys / 32;

// Of one rule on the lane's keys from `first` on, for all rows. Past the last key it is looked at again.
template <class Rule, class Q>
__device__ __forceinline__ RuleEffect effectOfRule(const Rule& rule, const Sequence& sequence, const Q& queries,
                                                   int32_t kvHead, Token first) {
  RuleEffect effect = RuleEffect::some;
  if constexpr (hasVisibleEffect<Rule>()) {
    rule.withReader([&](const auto& read) {
      using Element = std::decay_t<decltype(*read.data)>;
      typename Rule::Row before{};
#pragma unroll 1
      for (int r = 0; r < queries.count; ++r) {
        const typename Rule::Row row = rule.row(scoreQueryOf(sequence, queries.at(r), kvHead));
        if (r > 0 && row == before) continue;
        before = row;
        int hiding = 0, idle = 0;
#pragma unroll
        for (int i = 0; i < kEffectKeysPerLane; ++i) {
          const Element element = read.data[rule.at(row, {smaller(first + i, sequence.keys.size() - 1), {}})];
          hiding += Rule::hides(element);
          idle += Rule::isIdle(element);
        }
        const RuleEffect one = effectOfElements(kEffectKeysPerLane, hiding, idle);
        effect = r == 0 ? one : together(effect, one);
        if (effect == RuleEffect::some) break;
      }
    });
  }
  return effect;
}

// Writes the table's groups, each by a warp, whose lanes look at keys that follow each other.
template <class Pattern>
__device__ __forceinline__ void noteEffects(const EffectParams& params) {
  const AttentionParams& p = params.attention;
  const int64_t group = params.first + int64_t(block_index()) * (kEffectThreads / 32) + warp_id();
  if (group >= params.count) return;
  Work work = workOf(p, uint32_t(group / p.effects.pitch));
  const Token begin = Token(group % p.effects.pitch) * (EffectTable::kPieces * kEffectKeys);
  if (begin >= work.sequence.keys.size()) return;
  Pattern pattern;
  patternOf(p, work, pattern);
  const auto queries = queriesOf(p, work, pattern, params.tileRows);

  const int32_t kvHead = p.problem.kvHeadOf(work.map.firstHead);
  const Token first = begin + lane_id() * kEffectKeysPerLane;
  RuleEffect effect = RuleEffect::none;
  p.problem.rules.forEach([&](const auto& rule) {
    if (!rule.isPresent() || effect == RuleEffect::hidesAll) return;
    effect = inTurn(effect, effectOfRule(rule, work.sequence, queries, kvHead, first));
  });
  constexpr int kLanes = 32 / EffectTable::kPieces;  // of a piece
  for (int step = 1; step < kLanes; step *= 2) effect = together(effect, RuleEffect(shfl_xor(int32_t(effect), step)));
  // Lane i has that of piece i; lanes from kPieces on repeat them.
  const RuleEffect ofPiece = RuleEffect(shfl(int32_t(effect), lane_id() * kLanes % 32));
  const uint32_t hidden = ballot(ofPiece == RuleEffect::hidesAll), unchanged = ballot(ofPiece == RuleEffect::none);
  if (lane_id() == 0) p.effects.groups[group] = {uint8_t(hidden), uint8_t(unchanged)};
}

// The number of the lowest bit that is set, 32 of none.
__device__ __forceinline__ int lowestBit(uint32_t bits) { return popc(~bits & (bits - 1)); }

// The row of one tile.
struct TileEffects {
  const EffectTable::Group* groups;  // null: nothing is known

  __device__ __forceinline__ bool areKnown() const { return groups != nullptr; }
  // The first of the places whose piece has a bit in wanted(group), or their end.
  template <class Wanted>
  __device__ __forceinline__ Token firstWhere(const KeyRun& run, const Range& places, Wanted&& wanted) const {
    Token place = places.begin;
    while (place < places.end) {
      const Token token = run.token(place), piece = token / kEffectKeys;
      const uint32_t left = uint32_t(wanted(groups[piece / EffectTable::kPieces])) >> piece % EffectTable::kPieces;
      if (left & 1) return place;
      const Token skipped = smaller<Token>(lowestBit(left), EffectTable::kPieces - piece % EffectTable::kPieces);
      place += ceilDiv((piece + skipped) * kEffectKeys - token, run.step);
    }
    return places.end;
  }

  // Leaves out hidden places in front and everything from the next hidden place on, which is looked for among `most`.
  // Returns whether there is one.
  __device__ __forceinline__ bool cutHidden(const KeyRun& run, Range& places, Token most) const {
    using Group = EffectTable::Group;
    places.begin = firstWhere(run, places, [](const Group& g) { return uint8_t(~g.hidden); });
    const Range looked{places.begin, smaller(places.end, places.begin + most)};
    const Token end = firstWhere(run, looked, [](const Group& g) { return g.hidden; });
    if (end == looked.end) return false;
    places.end = end;
    return true;
  }
  __device__ __forceinline__ bool isUnchanged(Token token) const {
    const Token piece = token / kEffectKeys;
    return groups[piece / EffectTable::kPieces].unchanged >> piece % EffectTable::kPieces & 1;
  }
};

}  // namespace tilewise::cuda
