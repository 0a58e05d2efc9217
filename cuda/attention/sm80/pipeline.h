// Pipeline: brings the keys and values of a block's visits to shared memory by cp.async, and says when they are there.
// Reader: someone who asks why no tile is read too early or overwritten too soon. It holds one tile of keys and one of
// values: values are copied while scores are computed, the next keys while weights are (FlashAttention-2).
#pragma once

#include "../non_finite.h"
#include "coded_rows.h"
#include "layout.h"

namespace tilewise::cuda {

template <class L>
class Pipeline {
 public:
  // fetchKeys() is large for gathered patterns, so it is instantiated once: the first iteration of their loop only
  // fetches.
  static constexpr bool kStartsInLoop = L::kGathers;

  __device__ __forceinline__ Pipeline(const AttentionParams& p, const Work& work, const typename L::Pattern& pattern,
                                      const Box<L::Pattern::kRank>& queries, Token extras)
      : params_(p),
        keyRows_(p, work, p.problem.key, p.problem.extraKeys, p.problem.headDim, p.keyIsAligned, p.extraKeysAreAligned),
        valueRows_(p, work, p.problem.value, p.problem.extraValues, p.problem.valueDim, p.valueIsAligned,
                   p.extraValuesAreAligned),
        visits_(p, work, pattern, lookAmong(pattern, work.map.heads(), queries), extras) {}

  __device__ __forceinline__ bool hasVisit() const { return hasVisit_; }
  // The visit whose keys are fetched.
  __device__ __forceinline__ const Visit& visit() const { return visit_; }

  // Brings the first keys, unless the loop does.
  __device__ __forceinline__ void start() {
    if constexpr (!kStartsInLoop) {
      fetchKeys();
      cp_async_wait<0>();
      sync_block();
    }
  }
  // Moves on to the next visit and copies its keys.
  __device__ __forceinline__ void fetchKeys() {
    hasVisit_ = visits_.next(visit_, L::slots());
    if (hasVisit_) copyRows<true>(L::keys(), keyRows_);
    cp_async_commit();
  }
  // Copies the values of the visit.
  __device__ __forceinline__ void fetchValues() {
    copyRows<false>(L::values(), valueRows_);
    cp_async_commit();
  }
  // The values have landed, and nobody reads the keys any more. Returns whether a masked visit needs a repair.
  __device__ __forceinline__ bool waitForValues(bool isMasked) {
    cp_async_wait<0>();
    if (isMasked) sync_warp();  // codes are read by other lanes than look at them now
    if (isMasked) return L::syncAny(findNonFinite(L::values(), L::firstOwnKey(), L::kOwnKeys));
    L::sync();
    return false;
  }
  // The next keys have landed, and nobody reads the values any more. At first the queries, which everyone copied, have
  // landed too.
  __device__ __forceinline__ void waitForKeys(bool isFirst) {
    cp_async_wait<0>();
    if (isFirst) {
      sync_block();
    } else {
      L::sync();
    }
  }

 private:
  using Sources = KeySources<typename L::E, L::kGathers, L::Pattern::kIsGrid>;

  template <bool AreKeys, class Tile>
  __device__ __forceinline__ void copyRows(const Tile& tile, const Sources& sources) const {
    if constexpr (L::kReadsCodes) {
      if (params_.problem.store.codes && !visit_.template isOfExtras<false>()) {
        return copyStoredRows<L::kOwnKeys, AreKeys>(tile, L::firstOwnKey(), sources.rows, params_, visit_.token, 0, 0);
      }
    }
    copyVisit<L::kOwnKeys, L::kGathers, L::Pattern::kIsGrid>(tile, sources.of(visit_), visit_);
  }

  const AttentionParams& params_;
  Sources keyRows_, valueRows_;
  typename L::Visits visits_;
  Visit visit_{};
  bool hasVisit_ = false;
};

}  // namespace tilewise::cuda
