// WideSteps: the strips that a wide kernel meets one after the other, each copied while the one before it is computed.
// Reader: someone who asks why no strip is read too early. A visit's steps are the strips of its queries' and keys'
// dims, then those of its values' columns.
#pragma once

#include "coded_rows.h"
#include "wide_layout.h"

namespace tilewise::cuda {

struct WideStep {
  bool isOfKeys;
  bool isLast;  // of the keys' steps
  int strip;
  int part;  // of values
  int buffer;
};

template <class L>
class WideSteps {
 public:
  using E = typename L::E;
  using Bits = typename Element<E>::Bits;

  template <class Q>
  __device__ __forceinline__ WideSteps(const AttentionParams& p, const Work& work, const typename L::Pattern& pattern,
                                       const Q& queries, Token extras)
      : params_(p),
        keyRows_(p, work, p.problem.key, p.problem.extraKeys, p.problem.headDim, p.keyIsAligned, p.extraKeysAreAligned),
        valueRows_(p, work, p.problem.value, p.problem.extraValues, p.problem.valueDim, p.valueIsAligned,
                   p.extraValuesAreAligned),
        visits_(p, work, pattern, lookAmong(pattern, work.map.heads(), queries.box()), extras) {
    static_assert(L::kThreads == L::kRows * L::QueryTile::kChunks, "a chunk of queries for every thread");
    const auto query = queries.at(int(thread_index()) / L::QueryTile::kChunks);
    if (query.isReal) {
      queryRow_ = static_cast<const Bits*>(p.problem.query.data) +
                  p.problem.query.offset(work.sequence.batch, work.sequence.queries.begin + query.token,
                                         p.problem.queryHeadOf(query.head));
    }
  }

  // Whether there is a step whose strip is being copied, and its visit.
  __device__ __forceinline__ bool areAny() const { return hasVisit_; }
  __device__ __forceinline__ const Visit& visit() const { return visit_; }
  __device__ __forceinline__ WideStep current() const {
    const int keySteps = keyStepsOf(params_), ofValues = step_ - keySteps;
    return {ofValues < 0, step_ == keySteps - 1, ofValues < 0 ? step_ : ofValues / L::kParts, ofValues % L::kParts,
            buffer_};
  }
  // Starts the copies of the next step.
  __device__ __forceinline__ void next() {
    if (step_ < 0 || ++step_ == keyStepsOf(params_) + valueStepsOf(params_)) step_ = 0;
    buffer_ ^= 1;
    if (step_ == 0) hasVisit_ = visits_.next(visit_, L::slots());
    if (hasVisit_) {
      const WideStep step = current();
      if (step.isOfKeys) {
        copyQueries(step);
        copyOwn<L::kOwnKeys, true>(L::keys(step.buffer), keyRows_, step.strip * L::kStripDims, 0);
      } else {
        copyOwn<L::kPartOwn, false>(L::values(step.buffer), valueRows_, step.strip * L::kStripColumns,
                                    step.part * L::kPartOwn);
      }
    }
    cp_async_commit();
  }

 private:
  static __device__ __forceinline__ int keyStepsOf(const AttentionParams& p) {
    return ceilDiv(p.problem.headDim, L::kStripDims);
  }
  static __device__ __forceinline__ int valueStepsOf(const AttentionParams& p) {
    return ceilDiv(p.problem.valueDim, L::kStripColumns) * L::kParts;
  }

  __device__ __forceinline__ void copyQueries(const WideStep& step) {
    const auto& query = params_.problem.query;
    const int first = step.strip * L::kStripDims, thread = int(thread_index());
    const int row = thread / L::QueryTile::kChunks, c = thread % L::QueryTile::kChunks;
    const RowSource<E> source(query, StoredRows{0, 0}, params_.problem.headDim - first, params_.queryIsAligned);
    const Bits* const from = queryRow_ ? queryRow_ + first * query.dim : nullptr;
    copyChunk(L::queries(step.buffer).at(row, c), source, from, c);
  }

  // Dims from `first` on of `Own` rows of the calling warp's, from number `firstOwn` on.
  template <int Own, bool AreKeys, class Sources, class Tile>
  __device__ __forceinline__ void copyOwn(const Tile& tile, const Sources& sources, int first, int firstOwn) {
    RowSource<E> source = sources.of(visit_);
    const int r = L::firstKey() + lane_id() % L::kOwnKeys;
    const bool isOfExtras = visit_.template isOfExtras<L::Pattern::kIsGrid>();
    const Token token = isOfExtras ? (r < visit_.count ? visit_.first + r : -1) : visit_.token;
    const Bits* const own = token >= 0 ? source.row(token) + first * source.dim : nullptr;
    source.dims -= first;
    const int firstRow = warp_id() * Own;
    if constexpr (!L::Pattern::kIsGrid) {
      if (params_.problem.store.codes && !isOfExtras) {
        const Token ownToken = shfl(token, firstOwn + lane_id() % Own);
        return copyStoredRows<Own, AreKeys>(tile, firstRow, source, params_, ownToken, first,
                                            AreKeys ? first : params_.firstColumn + first);
      }
    }
#pragma unroll 2
    for (int i = lane_id(); i < Own * Tile::kChunks; i += 32) {
      const int row = i / Tile::kChunks, c = i % Tile::kChunks;
      copyChunk(tile.at(firstRow + row, c), source, shflPointer(own, firstOwn + row), c);
    }
  }

  const AttentionParams& params_;
  KeySources<E, true, L::Pattern::kIsGrid> keyRows_, valueRows_;
  typename L::Visits visits_;
  Visit visit_{};
  const Bits* queryRow_ = nullptr;
  bool hasVisit_ = false;
  int step_ = -1, buffer_ = 0;
};

}  // namespace tilewise::cuda
