// scanChunks(): linear attention chunk by chunk, for a group of a sequence's tokens and some columns of its values.
// Reader: start at LinearScan::run(). Of a chunk of n tokens, with c_r the decays of its tokens 0 to r, summed:
//   O = scale [ ((Q K^T) * e^(c_r - c_r'))_{r >= r'} V + diag(e^c_r) Q S ],   S <- e^(c_last) S + (diag(e^(c_last -
//   c_r')) K)^T V
// All four products are on tensor cores, S is float32 throughout. Idea: Lightning Attention-2 (arXiv 2401.04658). What
// a token may not see is selected away, never multiplied by 0.
#pragma once

#include "../tiles/element.h"
#include "fragments.h"
#include "rows.h"

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
class LinearScan {
  using M = LinearMma<E>;
  using Strip = LinearTile<kStripDims>;
  using Wide = LinearTile<Columns>;
  static constexpr int kHalf = Columns / 2;
  using Output = RegisterTile<1, kHalf>;
  using Scores = RegisterTile<1, kChunkTokens / 2>;

 public:
  __device__ __forceinline__ explicit LinearScan(const LinearParams& p)
      : p_(p),
        work_(p, p.firstBlock + block_index(), doesWrite ? p.outputGroups : p.groups, doesWrite && !p.isCausal,
              Columns),
        base_(smem_base()),
        rows_{base_ + p.shape.rows},
        strips_(ceilDiv(p.headDim, kStripDims)),
        featureStrips_(ceilDiv(p.features, kStripDims)),
        isTaylor_(p.featureMap == FeatureMap::taylor2) {
    const int warp = warp_id();
    firstRow_ = warp / 2 * 16;
    firstHalf_ = warp % 2 * kHalf;
    half_ = warp % 2;
  }

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
  __device__ __forceinline__ int ownRow() const { return firstRow_ + lane_id() / 4; }  // of slot 0; the other: 8 on
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
    if (p_.decay && warp == 0) sumDecays(p_, s.batch, s.keys.begin + first, n, work_.head, rows_);
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
    Scores scores;
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
      if (hasScores && isBusy) addScores(scores, keys(strip), dimsOf(strip));
      if (!hasState_) continue;
      const Strip rows = isTaylor_ ? features() : queries();
      const int left = smaller(kStripDims, p_.features - strip * kStripDims);
      if (isBusy) {
        addDepth<M>(output, states(strip), firstHalf_, ceilDiv(left, M::kDepth),
                    [&, at = pairAt(rows, ownRow(), 0)](auto& a, int step) { loadRowsOf<M>(a, rows, at, step); });
      }
      if (p_.isNormalized) {
#pragma unroll 1
        for (int f = int(thread_index()) % 4; f < kStripDims; f += 4) {
          seen = fmaf(ld_shared_f32(rows.element(int(thread_index()) / 4, f)),
                      ld_shared_f32(normalizer(strip * kStripDims + f)), seen);
        }
      }
    }
    if (p_.decay) {
      float factor[2];
#pragma unroll
      for (int slot = 0; slot < 2; ++slot) factor[slot] = rows_.load(ChunkRows::kFromStart, ownRow() + slot * 8);
      output.scaleRows(factor);
      seen *= rows_.load(ChunkRows::kFromStart, int(thread_index()) / 4);
    }
    seen = quadSum(seen);
    if (p_.isCausal) weigh(scores);
    sync_block();  // nobody reads the queries any more, whose place the scores take
    if (lane_id() % 4 == 0) st_shared(rows_.at(ChunkRows::kSeen, int(thread_index()) / 4), seen);
    if (p_.isCausal) storeScores(scores);
    sync_block();
    if (p_.isCausal && isBusy) addValues(output);
    store(output, head, first, n);
  }

  __device__ __forceinline__ void addScores(Scores& scores, const Strip& keys, int dims) const {
    const saddr rowsAt = M::rowsAt(queries(), firstRow_), columnsAt = M::columnsAt(keys, half_ * (kChunkTokens / 2));
    const int steps = ceilDiv(smaller(kStripDims, dims), M::kDepth);
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      // 16 columns of float32 are four chunks of a row: a step further.
      typename M::Rows a;
      M::loadRows(a, queries(), rowsAt, 0, step);
#pragma unroll
      for (int block = 0; block < kChunkTokens / 32; ++block) {
        typename M::Columns b;
        M::loadColumns(b, keys, columnsAt, block, step);
        M::multiply(scores.v[0][2 * block], scores.v[0][2 * block + 1], a, b);
      }
    }
  }

  // Scores with the decay between their tokens, 0 where a key is later than the query.
  __device__ __forceinline__ void weigh(Scores& scores) const {
    scores.forEach([&](float& x, int slot, int block, int i) {
      const int row = ownRow() + slot * 8, column = half_ * (kChunkTokens / 2) + Scores::column(block, i);
      if (isTaylor_) {
        const float s = x * p_.taylorRoot;
        x = fmaf(s * s, 0.5f, 1 + s);
      }
      if (p_.decay) x *= exponential(differenceOf(rows_.sum(row), rows_.sum(column)));
      x = column <= row ? x : 0;
    });
  }

  __device__ __forceinline__ void storeScores(Scores& scores) const {
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const int row = ownRow() + slot * 8;
      const saddr to = pairAt(queries(), row, half_ * (kChunkTokens / 2));
      float sum = 0;
#pragma unroll
      for (int block = 0; block < kChunkTokens / 16; ++block) {
        const float x = scores.at(slot, block, 0), y = scores.at(slot, block, 1);
        Element<float>::store(Strip::ahead(to, 0, block), x, y);
        sum += x + y;
      }
      sum = quadSum(sum);
      if (lane_id() % 4 == 0) {
        st_shared(rows_.at(half_ == 0 ? ChunkRows::kScores : ChunkRows::kScoresOfOtherHalf, row), sum);
      }
    }
  }

  // output += scores V, up to the rows' own tokens.
  __device__ __forceinline__ void addValues(Output& output) const {
    const int before = firstRow_ / M::kDepth;
    const saddr at = pairAt(queries(), ownRow(), 0);
    addDepth<M>(output, values(), firstHalf_, before + (areFinite_ ? 1 : 0),
                [&](auto& a, int step) { loadRowsOf<M>(a, queries(), at, step); });
    if (areFinite_) return;
    // The product would multiply what later tokens have by 0, which is NaN of a value that is not finite.
#pragma unroll 1
    for (int block = 0; block < kHalf / 8; ++block) {
#pragma unroll 1
      for (int token = firstRow_; token < firstRow_ + 16; ++token) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float value = ld_shared_f32(values().element(token, firstHalf_ + Output::column(block, i)));
#pragma unroll
          for (int slot = 0; slot < 2; ++slot) {
            const int row = ownRow() + slot * 8;
            float& x = output.at(slot, 0, i);
            if (token <= row) x = fmaf(ld_shared_f32(queries().element(row, token)), value, x);
          }
        }
      }
      output.rotate();
    }
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
        float sum = rows_.load(ChunkRows::kSeen, row);
        if (p_.isCausal) {
          sum += rows_.load(ChunkRows::kScores, row) + rows_.load(ChunkRows::kScoresOfOtherHalf, row);
        }
        factor[slot] *= 1 / (sum + p_.eps);
      }
      out[slot] = static_cast<Bits*>(p_.out.data) + p_.out.offset(s.batch, s.queries.begin + first + row, head);
    }
    // Eight columns at a time: stores of all are a tenth of the kernel's code, and their addresses many registers.
#pragma unroll 1
    for (int block = 0; block < kHalf / 8; ++block) {
#pragma unroll
      for (int slot = 0; slot < 2; ++slot)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int column = firstHalf_ + Output::column(block, i);
          if (ownRow() + slot * 8 >= n || column >= work_.columns) continue;
          out[slot][(work_.firstColumn + column) * p_.out.dim] =
              Element<E>::fromFloat(output.at(slot, 0, i) * factor[slot]);
        }
      output.rotate();
    }
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
      if (strip * kStripDims + firstRow_ < p_.features) addKeys(states(strip), rows, kept, n);
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

  __device__ __forceinline__ void addKeys(const Wide& state, const Strip& keys, float kept, int n) const {
    const saddr to = pairAt(state, ownRow(), firstHalf_);
    const auto pairOf = [&](int slot, int block) { return Wide::ahead(to, 0, block) + slot * 8 * Wide::kPitch; };
    Output sums;
    sums.forEach([&](float& x, int slot, int block, int i) { x = kept * ld_shared_f32(pairOf(slot, block) + i * 4); });
    addDepth<M>(sums, values(), firstHalf_, ceilDiv(n, M::kDepth), [&, at = M::depthAt(keys, 0)](auto& a, int step) {
      loadColumnsAsRows<M>(a, keys, at, step, firstRow_ / 16);
    });
#pragma unroll
    for (int slot = 0; slot < 2; ++slot)
#pragma unroll
      for (int block = 0; block < kHalf / 8; ++block) {
        Element<float>::store(pairOf(slot, block), sums.at(slot, block, 0), sums.at(slot, block, 1));
      }
  }

  const LinearParams& p_;
  const LinearWork work_;
  const saddr base_;
  const ChunkRows rows_;
  const int strips_, featureStrips_;
  const bool isTaylor_;
  int firstRow_, firstHalf_, half_;
  bool hasState_ = false, areFinite_ = true;
};

template <class E, int Columns, bool doesWrite>
__device__ __forceinline__ void scanChunks(const LinearParams& p) {
  LinearScan<E, Columns, doesWrite>(p).run();
}

}  // namespace tilewise::cuda
