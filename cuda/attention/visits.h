// Visits: the keys that a tile of queries meets next, at most `Keys` of them, and whether every query sees all of them.
// Reader: someone who follows a pattern's runs into the loop. There are two feeds: a stream of tokens that follow each
// other, for windows in contiguous memory, and a gather of any runs of any pattern, for everything else.
#pragma once

#include "../../core/pattern/stretches.h"
#include "rule_effects.h"

namespace tilewise::cuda {

struct Visit {
  int count;  // keys; the rest of the tile is filled with zeros and hidden
  bool isInterior;
  bool isExtra;
  Token first;  // stream and extra keys (options.extraKeys): token of key 0, the others follow; else -1
  Token token;  // gather: of this lane's key, -1 if there is none

  // Whether a gathered visit has extra keys. Grids ask the flag and others the token, so that neither costs a register:
  // float32 grids of 256 dims would spill on sm_90a, windows of 64 dims lose a block per multiprocessor on sm_80.
  template <bool IsGrid>
  __device__ __forceinline__ bool isOfExtras() const {
    return IsGrid ? isExtra : first >= 0;
  }
};

// A key of a gathered tile as the pattern counts it: in shared memory, for masks and score rules.
struct KeySlot {
  Token place, at[2], token;

  __device__ __forceinline__ KeyRun run() const { return {{place, place + 1}, 0, 1, {at[0], at[1]}}; }
  __device__ __forceinline__ ScoreKey key() const { return {token, {at[0], at[1], place}}; }
};

// Extra keys (options.extraKeys), visited last.
struct ExtraKeys {
  Token count, done = 0;

  template <int Keys>
  __device__ __forceinline__ bool next(Visit& visit) {
    if (done >= count) return false;
    const Token n = smaller<Token>(Keys, count - done);
    visit = {n, n == Keys, true, done, -1};
    done += n;
    return true;
  }
};

// Runs of tokens that follow each other, cut into tiles from their beginning.
template <class Pattern, int Keys>
class StreamKeys {
 public:
  // A stream has no score rules and no extra keys, notes no slots, and its clip ends behind all keys.
  __device__ __forceinline__ StreamKeys(const AttentionParams&, const Work& work, const Pattern& pattern,
                                        const typename Pattern::Sight& sight, Token)
      : pattern_(pattern), sight_(sight), firstKey_(work.clip.begin), runs_(pattern.runs(sight)) {}

  __device__ __forceinline__ bool next(Visit& visit, saddr) {
    while (left_.isEmpty()) {
      if (index_ == runs_) return false;
      left_ = pattern_.run(sight_, index_++).places;
      left_.begin = larger(left_.begin, firstKey_);
    }
    const Range keys{left_.begin, smaller(left_.end, left_.begin + Keys)};
    KeyRun run;
    run.places = keys;
    const bool isInterior = visibleCut(pattern_, sight_, run).interior.size() == Keys;
    visit = {keys.size(), isInterior, false, keys.begin, -1};
    left_.begin = keys.end;
    return true;
  }

 private:
  const Pattern& pattern_;
  typename Pattern::Sight sight_;
  Token firstKey_;
  Range left_;
  int32_t runs_, index_ = 0;
};

// Runs of any pattern, short ones side by side in one tile. Every warp works out the same tile, a run per lane, and
// keeps the tokens of the `Own` keys that it copies, one per lane. With four lanes and tiles of eight keys:
//
//   lane  keys left of its run   begin  end
//     0   a b c                    0     3     tile    | a b c | d e | f g h |
//     1   d e                      3     5     key       0 1 2   3 4   5 6 7
//     2   none                     5     5     holder    0 0 0   1 1   3 3 3
//     3   f g h i j                5    10
//
// The holder of key 6 is the first lane whose end is greater than 6: lane 3, and key 6 is g, 6 - begin = 1 place on.
// Lane 3 fills the tile with 3 of its keys; the next tile begins with its run, at i.
//
// Keys that the score rules hide from all queries are left out. A run in which they leave a gap ends there for now: the
// lanes behind it wait, and the rest of the run is next, in this tile still if it has room.
template <class Pattern, int Keys, int Own>
class GatherKeys {
 public:
  static_assert(Own <= 32, "a lane holds one of the warp's keys");

  __device__ __forceinline__ GatherKeys(const AttentionParams& p, const Work& work, const Pattern& pattern,
                                        const typename Pattern::Sight& sight, Token extras)
      : params_(p), work_(work), pattern_(pattern), sight_(sight), extras_{extras}, runs_(pattern.runs(sight)) {}

  // Fills `slots`, which has room for Keys of them.
  __device__ __forceinline__ bool next(Visit& visit, saddr slots) {
    const int lane = lane_id(), own = warp_id() * Own + lane % Own;
    const TileEffects effects{params_.effectsOf(work_.index, block_index())};
    visit = {0, true, false, -1, -1};
    while (visit.count < Keys && index_ < runs_) {
      KeyRun run;
      Cut cut{};
      bool isCutShort = false;
      if (index_ + lane < runs_) {
        run = pattern_.run(sight_, index_ + lane);
        cut = visibleCut(pattern_, sight_, run);
        cut.keys = intersect(cut.keys, work_.clip);
        if (lane == 0) cut.keys.begin = clamp(next_, cut.keys.begin, cut.keys.end);
        if (effects.areKnown()) isCutShort = effects.cutHidden(run, cut.keys, Keys);
      }
      const uint32_t cutShort = ballot(isCutShort);
      // Keys left of this lane's run, capped: sums of whole runs could overflow.
      const int length = lane <= lowestBit(cutShort) ? smaller<Token>(cut.keys.size(), Keys) : 0;
      int end = length;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int before = shfl_up(end, step);
        if (lane >= step) end += before;
      }
      const int begin = visit.count + end - length;
      end += visit.count;
      const bool isReached = begin < Keys && length > 0;
      const Range taken{cut.keys.begin, cut.keys.begin + smaller(length, Keys - begin)};
      visit.isInterior &= ballot(isReached && !cut.interior.contains(taken)) == 0;
      const Token origin = cut.keys.begin - begin;  // where the run would have key 0 of the tile
      resolve(visit, slots, own, end, run, origin);
      advance(visit, end, origin, cutShort);
    }
    if (visit.count == 0) return extras_.template next<Keys>(visit);
    visit.isInterior &= visit.count == Keys;
    return true;
  }

 private:
  // The lane whose run has a key of the tile: the first that ends behind it. `end`: where this lane's run ends.
  static __device__ __forceinline__ int holderOf(int key, int end) {
    int holder = 0;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      if (shfl(end, holder + step - 1) <= key) holder += step;
    }
    return holder;
  }

  // Notes this lane's own key if it has a holder among these runs.
  __device__ __forceinline__ void resolve(Visit& visit, saddr slots, int own, int end, const KeyRun& run,
                                          Token origin) {
    const int holder = holderOf(own, end);
    const int total = shfl(end, 31);
    const bool isHere = own >= visit.count && own < total;
    const Token place = shfl(origin, holder) + own;
    const Token token = shfl(run.origin, holder) + place * shfl(run.step, holder);
    const Token at0 = shfl(run.at[0], holder), at1 = shfl(run.at[1], holder);
    if (!isHere) return;
    visit.token = token;
    if (lane_id() >= Own) return;  // an earlier lane has the same key
    st_shared(slots + own * int(sizeof(KeySlot)),
              uint4{uint32_t(place), uint32_t(at0), uint32_t(at1), uint32_t(token)});
  }

  // Moves past the keys that the tile took: all 32 runs, or all before the one that fills the tile or is cut short and
  // part of that.
  __device__ __forceinline__ void advance(Visit& visit, int end, Token origin, uint32_t cutShort) {
    const int total = shfl(end, 31);
    if (total < Keys && cutShort == 0) {
      visit.count = total;
      index_ += 32;
      next_ = 0;
      return;
    }
    const int last = total < Keys ? lowestBit(cutShort) : holderOf(Keys - 1, end);
    visit.count = smaller(total, Keys);
    next_ = shfl(origin, last) + visit.count;
    index_ += last;
  }

  const AttentionParams& params_;
  const Work& work_;
  const Pattern& pattern_;
  typename Pattern::Sight sight_;
  ExtraKeys extras_;
  int32_t runs_, index_ = 0;
  Token next_ = 0;  // place of run index_
};

}  // namespace tilewise::cuda
