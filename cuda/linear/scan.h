// scanChunks(): linear attention chunk by chunk, for a group of a sequence's tokens and some columns of its values.
// Reader: start at LinearScan::run(). Of a chunk of n tokens, with c_r the decays of its tokens 0 to r, summed:
//   O = scale [ ((Q K^T) * e^(c_r - c_r'))_{r >= r'} V + diag(e^c_r) Q S ],   S <- e^(c_last) S + (diag(e^(c_last -
//   c_r')) K)^T V
// All four products are on tensor cores, S is float32 throughout. Idea: Lightning Attention-2 (arXiv 2401.04658). What
// a token may not see is selected away, never multiplied by 0.
#pragma once

#include "chunk_products.h"
#include "params.h"

namespace tilewise::cuda {

// What a block of threads works on.
struct LinearWork {
  int64_t task;
  LinearSequence sequence;
  int32_t head, group;  // head: of keys
  int firstColumn, columns;
  Range tokens;  // counted in the sequence

  __device__ __forceinline__ LinearWork(const LinearParams& p, int64_t block, int32_t groups, bool areQueries,
                                        int columnsPerBlock)
      : task(block / p.columnBlocks / groups),
        sequence(p.sequence(task / p.kvHeads)),
        head(int32_t(task % p.kvHeads)),
        group(int32_t(block / p.columnBlocks % groups)),
        firstColumn(int(block % p.columnBlocks) * columnsPerBlock),
        columns(smaller(columnsPerBlock, p.valueDim - firstColumn)) {
    const Token all = areQueries ? sequence.queries.size() : sequence.keys.size();
    const Token begin = Token(smaller<int64_t>(all, int64_t(group) * p.groupTokens));
    tokens = {begin, Token(smaller<int64_t>(all, int64_t(begin) + p.groupTokens))};
  }
};

// A state in memory; parts that are null are 0, or not wanted.
template <class T>
struct StateInMemory {
  T *state = nullptr, *normalizer = nullptr;
};

// doesWrite: outputs, else the group's state alone, which begins with 0 and goes to its slot.
template <class E, int Columns, bool doesWrite>
class LinearScan : ChunkProducts<E, Columns> {
  using Products = ChunkProducts<E, Columns>;
  using Products::firstRow_;
  using Products::ownRow;
  using Products::rows_;
  using typename Products::M;
  using typename Products::Output;
  using typename Products::Pairs;
  using typename Products::Strip;
  using typename Products::Wide;
  static constexpr auto kSeen = ChunkRows::kFirst, kScores = ChunkRows::kSecond, kOtherScores = ChunkRows::kThird;

 public:
  __device__ __forceinline__ explicit LinearScan(const LinearParams& p)
      : Products(smem_base() + p.shape.rows),
        p_(p),
        work_(p, p.firstBlock + block_index(), doesWrite ? p.outputGroups : p.groups, doesWrite && !p.isCausal,
              Columns),
        base_(smem_base()),
        strips_(ceilDiv(p.headDim, kStripDims)),
        featureStrips_(ceilDiv(p.features, kStripDims)),
        isTaylor_(p.featureMap == FeatureMap::taylor2) {}

  __device__ __forceinline__ void run() {
    const bool isWanted = p_.state || p_.normalizer;
    // Nobody asks for what the last group leaves.
    if (!doesWrite && p_.isCausal && !isWanted && work_.group + 1 == p_.groups) return;
    const bool needsEnd = !doesWrite || (!p_.isSplit && isWanted);
    const StateInMemory<const float> begin = beginning();
    hasState_ = begin.state || begin.normalizer;
    open(begin);
    float kept = 1;
#pragma unroll 1
    for (Token first = work_.tokens.begin; first < work_.tokens.end; first += p_.chunk) {
      const int n = smaller<Token>(p_.chunk, work_.tokens.end - first);
      readChunk(first, n);
      if constexpr (doesWrite) {
#pragma unroll 1
        for (int32_t h = 0; h < p_.headsPerState; ++h) writeOutputs(work_.head * p_.headsPerState + h, first, n);
      }
      if (p_.isCausal || !doesWrite) {
        if (needsEnd || first + n < work_.tokens.end) addChunk(first, n);
        hasState_ = true;
      }
      if (p_.decay) kept *= rows_.load(ChunkRows::kKept, 0);
    }
    if (needsEnd) close(kept);
  }

 private:
  __device__ __forceinline__ Strip queries() const { return {base_ + p_.shape.queries}; }
  __device__ __forceinline__ Strip features() const { return {base_ + p_.shape.features}; }
  __device__ __forceinline__ Strip keys(int strip) const {
    return {base_ + p_.shape.keys + (areKeysResident() ? strip : 0) * Strip::kBytes};
  }
  __device__ __forceinline__ Wide values() const { return {base_ + p_.shape.values}; }
  __device__ __forceinline__ Wide states(int strip) const {
    return {base_ + p_.shape.states + (p_.shape.isResident ? strip : 0) * Wide::kBytes};
  }
  __device__ __forceinline__ saddr normalizer(int feature) const { return base_ + p_.shape.normalizer + feature * 4; }
  __device__ __forceinline__ bool areKeysResident() const { return p_.shape.keyTiles == strips_; }

  __device__ __forceinline__ StateInMemory<const float> beginning() const {
    if (!doesWrite) return {};
    if (p_.isSplit) {
      const float* const slot = p_.slot(work_.task, p_.isCausal ? work_.group : p_.groups);
      return {slot, slot + p_.normalizerAt()};
    }
    return {p_.stateIn ? p_.stateIn + work_.task * p_.normalizerAt() : nullptr,
            p_.normalizerIn ? p_.normalizerIn + work_.task * p_.features : nullptr};
  }
  // Where a state that does not fit into shared memory is.
  __device__ __forceinline__ float* running() const {
    return p_.slot(work_.task, doesWrite && !p_.isCausal ? p_.groups : p_.isSplit || !doesWrite ? work_.group : 0);
  }

  __device__ __forceinline__ void readStrip(int strip, const float* state) const {
    const int64_t at = int64_t(strip) * kStripDims * p_.valueDim + work_.firstColumn;
    readState(states(strip), state ? state + at : nullptr, p_.valueDim, p_.features - strip * kStripDims,
              work_.columns);
  }
  __device__ __forceinline__ void writeStrip(int strip, float* state) const {
    writeState(states(strip), state + int64_t(strip) * kStripDims * p_.valueDim + work_.firstColumn, p_.valueDim,
               p_.features - strip * kStripDims, work_.columns);
  }

  __device__ __forceinline__ void open(const StateInMemory<const float>& begin) const {
    const bool isThere = doesWrite && p_.isSplit;  // in its slot
#pragma unroll 1
    for (int strip = 0; strip < featureStrips_ && (p_.shape.isResident || !isThere); ++strip) {
      readStrip(strip, begin.state);
      if (p_.shape.isResident) continue;
      sync_block();
      writeStrip(strip, running());
      sync_block();
    }
    if (!p_.isNormalized) return;
#pragma unroll 1
    for (int f = int(thread_index()); f < featureStrips_ * kStripDims; f += kLinearThreads) {
      st_shared(normalizer(f), begin.normalizer && f < p_.features ? begin.normalizer[f] : 0.0f);
    }
  }

  __device__ __forceinline__ void close(float kept) const {
    float* const slot = doesWrite ? nullptr : p_.slot(work_.task, work_.group);
    float* const state = !doesWrite ? slot : p_.state ? p_.state + work_.task * p_.normalizerAt() : nullptr;
    float* const normalizers = !doesWrite      ? slot + p_.normalizerAt()
                               : p_.normalizer ? p_.normalizer + work_.task * p_.features
                                               : nullptr;
    sync_block();
#pragma unroll 1
    for (int strip = 0; strip < featureStrips_ && state && (p_.shape.isResident || doesWrite); ++strip) {
      if (!p_.shape.isResident) {
        readStrip(strip, running());
        sync_block();
      }
      writeStrip(strip, state);
      if (!p_.shape.isResident) sync_block();
    }
    if (work_.firstColumn != 0) return;
    if (p_.isNormalized && normalizers) {
#pragma unroll 1
      for (int f = int(thread_index()); f < p_.features; f += kLinearThreads) {
        st_global(normalizers + f, ld_shared_f32(normalizer(f)));
      }
    }
    if (!doesWrite && thread_index() == 0) st_global(slot + p_.decayAt(), kept);
  }

  __device__ __forceinline__ LinearRows<E> rowsOfKeys(Token first) const {
    return {p_.key, work_.sequence.batch, work_.sequence.keys.begin + first, work_.head, p_.isKeyAligned};
  }
  __device__ __forceinline__ int dimsOf(int strip) const { return p_.headDim - strip * kStripDims; }

  // Decays, keys and values of a chunk.
  __device__ __forceinline__ void readChunk(Token first, int n) {
    sync_block();
    if (doesWrite && !p_.isCausal) return;
    const int warp = warp_id();
    const LinearSequence& s = work_.sequence;
    if (p_.decay && warp == 0) {
      const float* const decay = p_.decay + s.batch * p_.decayBatch + work_.head * p_.decayHead;
      sumDecays(n, rows_, [&](int row) { return decay[(s.keys.begin + first + row) * p_.decayToken]; });
    }
#pragma unroll 1
    for (int strip = 0; strip < strips_ && areKeysResident(); ++strip) {
      rowsOfKeys(first).copy(keys(strip), n, strip * kStripDims, dimsOf(strip), p_.featureMap);
    }
    const LinearRows<E> from(p_.value, s.batch, s.keys.begin + first, work_.head, p_.isValueAligned);
    const bool found = from.copy(values(), n, work_.firstColumn, work_.columns, FeatureMap::identity);
    areFinite_ = !sync_block_or(found);
  }

  // O of one query head. A warp has 16 rows, and half of the columns of scores and of outputs.
  __device__ __forceinline__ void writeOutputs(int32_t head, Token first, int n) const {
    const LinearSequence& s = work_.sequence;
    const LinearRows<E> from(p_.query, s.batch, s.queries.begin + first, head, p_.isQueryAligned);
    const bool isBusy = firstRow_ < n;
    Pairs scores;
    Output output;
    scores.setZero();
    output.setZero();
    float seen = 0;  // a part of phi(q) z of row thread / 4
    const int all = hasState_ ? featureStrips_ : strips_;
#pragma unroll 1
    for (int strip = 0; strip < all; ++strip) {
      const bool hasScores = p_.isCausal && strip < strips_;
      sync_block();
      if (strip < strips_) from.copy(queries(), n, strip * kStripDims, dimsOf(strip), p_.featureMap);
      if (hasScores && !areKeysResident()) {
        rowsOfKeys(first).copy(keys(strip), n, strip * kStripDims, dimsOf(strip), p_.featureMap);
      }
      if (hasState_ && !p_.shape.isResident) readStrip(strip, running());
      sync_block();
      if (hasState_ && isTaylor_) {
        expandRows(queries(), features(), strip * kStripDims, p_);
        sync_block();
      }
      if (hasScores && isBusy) Products::addPairs(scores, queries(), keys(strip), dimsOf(strip));
      if (!hasState_) continue;
      const Strip rows = isTaylor_ ? features() : queries();
      const int left = smaller(kStripDims, p_.features - strip * kStripDims);
      if (isBusy) Products::addRows(output, rows, states(strip), ceilDiv(left, M::kDepth));
      if (p_.isNormalized) {
#pragma unroll 1
        for (int f = int(thread_index()) % 4; f < kStripDims; f += 4) {
          seen = fmaf(ld_shared_f32(rows.element(int(thread_index()) / 4, f)),
                      ld_shared_f32(normalizer(strip * kStripDims + f)), seen);
        }
      }
    }
    if (p_.decay) {
      Products::scaleByRow(output, ChunkRows::kFromStart);
      seen *= rows_.load(ChunkRows::kFromStart, int(thread_index()) / 4);
    }
    seen = quadSum(seen);
    if (p_.isCausal) weigh(scores);
    sync_block();  // nobody reads the queries any more, whose place the scores take
    if (lane_id() % 4 == 0) st_shared(rows_.at(kSeen, int(thread_index()) / 4), seen);
    if (p_.isCausal) {
      Products::storePairs(scores, queries());
      if (p_.isNormalized) Products::storeSums(scores, kScores, kOtherScores);
    }
    sync_block();
    if (p_.isCausal && isBusy) Products::addLower(output, queries(), values(), areFinite_);
    store(output, head, first, n);
  }

  // Scores with the decay between their tokens, 0 where a key is later than the query.
  __device__ __forceinline__ void weigh(Pairs& scores) const {
    Products::forEachPair(scores, [&](float& x, int row, int column) {
      if (isTaylor_) {
        const float s = x * p_.taylorRoot;
        x = fmaf(s * s, 0.5f, 1 + s);
      }
      if (p_.decay) x *= Products::decayBetween(row, column);
      x = column <= row ? x : 0;
    });
  }

  __device__ __forceinline__ void store(Output& output, int32_t head, Token first, int n) const {
    using Bits = typename Element<E>::Bits;
    const LinearSequence& s = work_.sequence;
    Bits* out[2];
    float factor[2];
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const int row = ownRow() + slot * 8;
      factor[slot] = p_.scale;
      if (p_.isNormalized) {
        float sum = rows_.load(kSeen, row);
        if (p_.isCausal) sum += rows_.load(kScores, row) + rows_.load(kOtherScores, row);
        factor[slot] *= 1 / (sum + p_.eps);
      }
      out[slot] = static_cast<Bits*>(p_.out.data) + p_.out.offset(s.batch, s.queries.begin + first + row, head) +
                  work_.firstColumn * p_.out.dim;
    }
    Products::writeRows(output, out, p_.out.dim, factor, n, work_.columns);
  }

  // S <- e^(c_last) S + (diag(e^(c_last - c_r')) K)^T V, strip by strip of the features.
  __device__ __forceinline__ void addChunk(Token first, int n) const {
    const float kept = p_.decay ? rows_.load(ChunkRows::kKept, 0) : 1;
#pragma unroll 1
    for (int strip = 0; strip < featureStrips_; ++strip) {
      sync_block();
      const Strip rows = isTaylor_ ? features() : keys(strip);
      if (isTaylor_) expandRows(keys(0), rows, strip * kStripDims, p_);
      if (!areKeysResident()) {
        rowsOfKeys(first).copy(rows, n, strip * kStripDims, dimsOf(strip), p_.featureMap);
      }
      if (!p_.shape.isResident) readStrip(strip, running());
      sync_block();
      if (p_.decay) {
        weighRows(rows, rows_);
        sync_block();
      }
      if (strip * kStripDims + firstRow_ < p_.features) Products::addKeys(states(strip), rows, values(), kept, n);
      if (p_.isNormalized && int(thread_index()) < kStripDims) {
        const saddr at = normalizer(strip * kStripDims + int(thread_index()));
        float sum = ld_shared_f32(at) * kept;
#pragma unroll 4
        for (int row = 0; row < n; ++row) sum += ld_shared_f32(rows.element(row, int(thread_index())));
        st_shared(at, sum);
      }
      if (p_.shape.isResident) continue;
      sync_block();
      writeStrip(strip, running());
    }
  }

  const LinearParams& p_;
  const LinearWork work_;
  const saddr base_;
  const int strips_, featureStrips_;
  const bool isTaylor_;
  bool hasState_ = false, areFinite_ = true;
};

template <class E, int Columns, bool doesWrite>
__device__ __forceinline__ void scanChunks(const LinearParams& p) {
  LinearScan<E, Columns, doesWrite>(p).run();
}

}  // namespace tilewise::cuda
