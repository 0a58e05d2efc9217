// scanDelta(): the gated delta rule chunk by chunk. Reader: start at DeltaScan::run(). Of a chunk of n tokens, with c_r
// the decays of its tokens 0 to r, summed, and u_r what token r takes up:
//   (I + L) U = diag(beta) (V - diag(e^c_r) K S),   L_rr' = beta_r e^(c_r - c_r') k_r.k_r' for r' < r
//   O = scale [ diag(e^c_r) Q S + ((Q K^T) * e^(c_r - c_r'))_{r >= r'} U ]
//   S <- e^c_last S + (diag(e^(c_last - c_r)) K)^T U
// I + L is inverted in blocks of 16 rows, all four at once; between blocks its rows go through tensor cores. Idea: the
// WY form of DeltaNet (arXiv 2406.06484) and Gated DeltaNet (arXiv 2412.06464).
#pragma once

#include "../linear/chunk_products.h"
#include "../tiles/inverse_root.h"
#include "params.h"

namespace tilewise::cuda {

template <class E>
class DeltaScan : ChunkProducts<E, kDeltaColumns> {
  using Products = ChunkProducts<E, kDeltaColumns>;
  using Products::firstRow_;
  using Products::ownRow;
  using Products::rows_;
  using typename Products::M;
  using typename Products::Output;
  using typename Products::Pairs;
  using typename Products::Strip;
  static constexpr auto kBeta = ChunkRows::kFirst, kLength = ChunkRows::kSecond;
  static constexpr int kBlock = 16;  // rows that are inverted at once

 public:
  __device__ __forceinline__ explicit DeltaScan(const DeltaParams& params)
      : Products(smem_base() + params.shape.rows), a_(params), p_(params.problem), base_(smem_base()) {
    const int64_t block = a_.firstBlock + block_index(), task = block / a_.columnBlocks;
    firstColumn_ = int(block % a_.columnBlocks) * kDeltaColumns;
    sequence_ = task / p_.valueHeads;
    head_ = int32_t(task % p_.valueHeads);
    strips_ = ceilDiv(p_.headDim, kStripDims);
  }

  __device__ __forceinline__ void run() {
    const int64_t at = p_.stateAt(sequence_, head_) + firstColumn_;
    const int columns = smaller(kDeltaColumns, p_.valueDim - firstColumn_);
#pragma unroll 1
    for (int strip = 0; strip < strips_; ++strip) {
      const int64_t row = int64_t(strip) * kStripDims * p_.valueDim;
      readState(states(strip), p_.stateIn ? p_.stateIn + at + row : nullptr, p_.valueDim,
                p_.headDim - strip * kStripDims, columns);
    }
    const Range tokens = p_.tokensOf(sequence_);
    bool hasState = p_.stateIn;
#pragma unroll 1
    for (Token first = tokens.begin; first < tokens.end; first += a_.chunk) {
      const int n = smaller<Token>(a_.chunk, tokens.end - first);
      readChunk(first, n, columns);
      solve(n, hasState);
#pragma unroll 1
      for (int32_t h = 0; h < p_.headsPerState(); ++h) {
        writeOutputs(head_ * p_.headsPerState() + h, first, n, columns, hasState);
      }
      if (p_.state || first + n < tokens.end) advance(n);
      hasState = true;
    }
    if (!p_.state) return;
    sync_block();
#pragma unroll 1
    for (int strip = 0; strip < strips_; ++strip) {
      const int64_t row = int64_t(strip) * kStripDims * p_.valueDim;
      writeState(states(strip), p_.state + at + row, p_.valueDim, p_.headDim - strip * kStripDims, columns);
    }
  }

 private:
  __device__ __forceinline__ Strip pairs() const { return {base_ + a_.shape.pairs}; }
  __device__ __forceinline__ Strip taken() const { return {base_ + a_.shape.taken}; }
  __device__ __forceinline__ Strip keys(int strip) const { return {base_ + a_.shape.keys + strip * Strip::kBytes}; }
  __device__ __forceinline__ Strip states(int strip) const { return {base_ + a_.shape.states + strip * Strip::kBytes}; }
  __device__ __forceinline__ int64_t batch() const { return p_.batchOf(sequence_); }
  __device__ __forceinline__ int dimsOf(int strip) const { return p_.headDim - strip * kStripDims; }

  // This thread's share of the squares of a strip: a quarter of row thread / 4.
  __device__ __forceinline__ float squaresOf(const Strip& rows) const {
    const int thread = ownThread();
    float sum = 0;
#pragma unroll 1
    for (int d = thread % 4; d < kStripDims; d += 4) {
      const float x = ld_shared_f32(rows.element(thread / 4, d));
      sum = fmaf(x, x, sum);
    }
    return sum;
  }

  // Decays, betas, keys and values of a chunk; keys get length 1 where the problem says so.
  __device__ __forceinline__ void readChunk(Token first, int n, int columns) {
    sync_block();  // nobody reads what was here any more
    const int warp = warp_id();
    if (p_.decay.data && warp == 0) {
      sumDecays(n, rows_, [&](int row) { return p_.decay.at(batch(), first + row, head_); });
    }
    bool found = false;
    if (const int row = ownThread(); row < kChunkTokens) {
      const float beta = row < n ? p_.beta.at(batch(), first + row, head_) : 0;
      found = !isFinite(beta);
      st_shared(rows_.at(kBeta, row), beta);
    }
    const LinearRows<E> keyRows(p_.key, batch(), first, p_.keyHead(head_), a_.isKeyAligned);
#pragma unroll 1
    for (int strip = 0; strip < strips_; ++strip) {
      found |= keyRows.copy(keys(strip), n, strip * kStripDims, dimsOf(strip), FeatureMap::identity);
    }
    const LinearRows<E> valueRows(p_.value, batch(), first, head_, a_.isValueAligned);
    found |= valueRows.copy(taken(), n, firstColumn_, columns, FeatureMap::identity);
    areFinite_ = !sync_block_or(found);
    if (!p_.hasUnitRows) return;
    float sum = 0;
#pragma unroll 1
    for (int strip = 0; strip < strips_; ++strip) sum += squaresOf(keys(strip));
    const float factor = inverseRoot(quadSum(sum) + 1e-6f);
    const int thread = ownThread();
#pragma unroll 1
    for (int d = thread % 4; d < strips_ * kStripDims; d += 4) {
      const saddr at = keys(d / kStripDims).element(thread / 4, d % kStripDims);
      st_shared(at, ld_shared_f32(at) * factor);
    }
    sync_block();
  }

  // U in place of V.
  __device__ __forceinline__ void solve(int n, bool hasState) const {
    const bool isBusy = firstRow_ < n;
    Pairs feedback;
    Output sums;
    feedback.setZero();
    sums.setZero();
#pragma unroll 1
    for (int strip = 0; strip < strips_ && isBusy; ++strip) {
      Products::addPairs(feedback, keys(strip), keys(strip), dimsOf(strip));
      if (hasState) {
        Products::addRows(sums, keys(strip), states(strip), ceilDiv(smaller(kStripDims, dimsOf(strip)), M::kDepth));
      }
    }
    // L; nobody reads what is on its diagonal or above.
    Products::forEachPair(feedback, [&](float& x, int row, int column) {
      x *= rows_.load(kBeta, row);
      if (p_.decay.data) x *= Products::decayBetween(row, column);
    });
    Products::storePairs(feedback, pairs());
    if (p_.decay.data) Products::scaleByRow(sums, ChunkRows::kFromStart);
    Products::forEachOf(taken(), sums, [&](float& x, saddr at) { x = ld_shared_f32(at) - x; });
    Products::scaleByRow(sums, kBeta);
    sync_block();
    invertBlocks();
#pragma unroll 1
    for (int block = 0; block * kBlock < n; ++block) {
      if (firstRow_ == block * kBlock) solveBlock(sums, block);
      sync_block();
    }
  }

  // The diagonal blocks of I + L become their inverses: a column to a thread.
  __device__ __forceinline__ void invertBlocks() const {
    const int thread = ownThread(), first = thread / kBlock * kBlock, column = thread % kBlock;
    const bool takesPart = thread < kChunkTokens;
    float x[kBlock];
#pragma unroll
    for (int row = 0; row < kBlock; ++row) {
      x[row] = row == column ? 1 : 0;
      if (!takesPart) continue;
#pragma unroll
      for (int i = 0; i < row; ++i)
        x[row] = fmaf(-ld_shared_f32(pairs().element(first + row, first + i)), x[i], x[row]);
    }
    sync_block();
    if (takesPart) {
#pragma unroll
      for (int row = 0; row < kBlock; ++row) st_shared(pairs().element(first + row, first + column), x[row]);
    }
    sync_block();
  }

  // Rows [16 block, ...) of U, from those before them. Two warps, each for its half of the columns.
  __device__ __forceinline__ void solveBlock(Output& sums, int block) const {
    Output product;
    product.setZero();
    Products::addRows(product, pairs(), taken(), block);
    product.forEach([&](float& x, int slot, int column, int i) { x = sums.at(slot, column, i) - x; });
    Products::storeRows(product, taken());
    sync_warp();
    product.setZero();
    Products::addOwnRows(product, pairs(), taken(), areFinite_);
    sync_warp();
    Products::storeRows(product, taken());
  }

  // O of one head.
  __device__ __forceinline__ void writeOutputs(int32_t head, Token first, int n, int columns, bool hasState) const {
    const LinearRows<E> from(p_.query, batch(), first, p_.queryHead(head), a_.isQueryAligned);
    const bool isBusy = firstRow_ < n;
    Pairs scores;
    Output output;
    scores.setZero();
    output.setZero();
    float squares = 0;
#pragma unroll 1
    for (int strip = 0; strip < strips_; ++strip) {
      sync_block();
      from.copy(pairs(), n, strip * kStripDims, dimsOf(strip), FeatureMap::identity);
      sync_block();
      if (p_.hasUnitRows) squares += squaresOf(pairs());
      if (!isBusy) continue;
      Products::addPairs(scores, pairs(), keys(strip), dimsOf(strip));
      if (hasState) {
        Products::addRows(output, pairs(), states(strip), ceilDiv(smaller(kStripDims, dimsOf(strip)), M::kDepth));
      }
    }
    if (p_.decay.data) Products::scaleByRow(output, ChunkRows::kFromStart);
    Products::forEachPair(scores, [&](float& x, int row, int column) {
      if (p_.decay.data) x *= Products::decayBetween(row, column);
      x = column <= row ? x : 0;
    });
    const int row = ownThread() / 4;
    const float length = p_.hasUnitRows ? inverseRoot(quadSum(squares) + 1e-6f) : 1;
    sync_block();  // nobody reads the queries any more, whose place the scores take
    Products::storePairs(scores, pairs());
    if (lane_id() % 4 == 0) st_shared(rows_.at(kLength, row), length);
    sync_block();
    if (isBusy) Products::addLower(output, pairs(), taken(), areFinite_);
    store(output, head, first, n, columns);
  }

  __device__ __forceinline__ void store(Output& output, int32_t head, Token first, int n, int columns) const {
    using Bits = typename Element<E>::Bits;
    Bits* out[2];
    float factor[2];
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const int row = ownRow() + slot * 8;
      factor[slot] = p_.scale * rows_.load(kLength, row);
      out[slot] =
          static_cast<Bits*>(p_.out.data) + p_.out.offset(batch(), first + row, head) + firstColumn_ * p_.out.dim;
    }
    Products::writeRows(output, out, p_.out.dim, factor, n, columns);
  }

  // The state behind the chunk. The keys are spent.
  __device__ __forceinline__ void advance(int n) const {
    const float kept = p_.decay.data ? rows_.load(ChunkRows::kKept, 0) : 1;
    sync_block();
#pragma unroll 1
    for (int strip = 0; strip < strips_; ++strip) {
      if (p_.decay.data) {
        weighRows(keys(strip), rows_);
        sync_block();
      }
      if (strip * kStripDims + firstRow_ < p_.headDim) Products::addKeys(states(strip), keys(strip), taken(), kept, n);
    }
  }

  const DeltaParams& a_;
  const DeltaProblem& p_;
  const saddr base_;
  int64_t sequence_;
  int32_t head_;
  int firstColumn_, strips_;
  bool areFinite_ = true;
};

template <class E>
__device__ __forceinline__ void scanDelta(const DeltaParams& p) {
  DeltaScan<E>(p).run();
}

}  // namespace tilewise::cuda
