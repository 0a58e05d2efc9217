// KeyPasses: a pass of 64 queries over the keys they see. Reader: start at pass(), which is the algorithm; solve.h says
// which passes there are. Keys are read anew in each, in tiles of 64, and so are their weights computed: nothing grows
// with the number of keys. Idea: FlashAttention (arXiv 2205.14135); Local Linear Attention (arXiv 2510.01450).
#pragma once

#include "../attention/online_softmax.h"
#include "../linear/chunk_products.h"
#include "params.h"

namespace tilewise::cuda {

// What is summed, with w the weights e^(score - base) and x = d.k - d.kbar for a direction d:
enum class Pass {
  base,  // nothing: finds the base
  mean,  // w k
  along,  // w d.k
  covariance,  // w x k
  output,  // w (1 - x) v
};

// Floats per row in shared memory. A row's columns are two warps', which have a half of sums and maxima each.
struct RowNumbers {
  saddr base;
  enum Array { kBase, kInverse, kAlong, kMaxima, kSums = kMaxima + 2, kArrays = kSums + 2 };

  __device__ __forceinline__ saddr at(int array, int row) const { return base + (array * kChunkTokens + row) * 4; }
  __device__ __forceinline__ float load(int array, int row) const { return ld_shared_f32(at(array, row)); }
  __device__ __forceinline__ float sumOf(int row) const { return load(kSums, row) + load(kSums + 1, row); }
};

template <class E>
class KeyPasses : protected ChunkProducts<E, kStripDims> {
  using Products = ChunkProducts<E, kStripDims>;
  using typename Products::M;
  using typename Products::Pairs;

 protected:
  using Products::half_;
  using Products::ownRow;
  using typename Products::Output;
  using typename Products::Strip;

  __device__ __forceinline__ explicit KeyPasses(const LocalLinearParams& params)
      : Products(smem_base() + params.tiles.numbers),
        a_(params),
        p_(params.problem),
        numbers_{smem_base() + params.tiles.numbers} {}

  __device__ __forceinline__ void begin(int64_t task, Token query) {
    batch_ = task / p_.queryHeads;
    head_ = int32_t(task % p_.queryHeads);
    query_ = query;
    rows_ = smaller<Token>(kChunkTokens, p_.queries - query);
    end_ = p_.end(query + rows_ - 1);
    loaded_ = 0;
  }

  // All threads. `direction`: this thread's elements of it where it is not p_.correction. Sums of rows [strip] are for
  // columns from `firstColumn` on; those of weights go to numbers_.
  __device__ __forceinline__ void pass(Pass kind, int firstColumn, const float* direction,
                                       Output (&sums)[kColumnStrips]) {
    for (Output& x : sums) x.setZero();
    float weights[2] = {};
    OnlineSoftmax<2> softmax;
#pragma unroll 1
    for (Token key = 0; key < end_; key += kChunkTokens) {
      Pairs scores, along;
      bool found = multiply(kind, key, direction, scores, along);
      int seen[2];
      score(scores, key, seen);
      if (kind == Pass::base) {
        float unused[2];
        softmax.step(scores, kLog2E, unused);
        continue;
      }
      weigh(kind, scores, along);
      scores.forEach([&](float x, int slot, int, int) { weights[slot] += x; });
      if (kind == Pass::along) continue;
      Products::storePairs(scores, pairs());
      if (kind == Pass::output || a_.strips() > a_.tiles.keyTiles) found = readColumns(kind, key, firstColumn);
      const bool areFinite = !sync_block_or(found);
#pragma unroll
      for (int strip = 0; strip < kColumnStrips; ++strip) {
        if (strip >= stripsFrom(kind, firstColumn)) continue;
        if (areFinite) {
          Products::addRows(sums[strip], pairs(), keys(strip), kChunkTokens / M::kDepth);
        } else {
          addSeen(sums[strip], keys(strip), seen);
        }
      }
    }
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const float sum = quadSum(kind == Pass::base ? softmax.sum[slot] : weights[slot]);
      if (lane_id() % 4 != 0) continue;
      st_shared(numbers_.at(RowNumbers::kSums + half_, ownRow() + slot * 8), sum);
      if (kind == Pass::base)
        st_shared(numbers_.at(RowNumbers::kMaxima + half_, ownRow() + slot * 8), softmax.max[slot]);
    }
    sync_block();
  }

  // Strips of rows that a pass sums, from a column on.
  __device__ __forceinline__ int stripsFrom(Pass kind, int firstColumn) const {
    const int columns = kind == Pass::output ? p_.valueDim : p_.headDim;
    return smaller(kColumnStrips, ceilDiv(columns - firstColumn, kStripDims));
  }

  const LocalLinearParams& a_;
  const LocalLinearProblem& p_;
  const RowNumbers numbers_;
  int64_t batch_;
  int32_t head_;
  Token query_, end_;
  int rows_;
  int loaded_;  // of what may stay: 1: the queries, 2: and the direction

 private:
  __device__ __forceinline__ Strip at(int32_t tiles, int i) const {
    return {smem_base() + tiles + i * int(Strip::kBytes)};
  }
  __device__ __forceinline__ Strip pairs() const { return at(a_.tiles.pairs, 0); }
  __device__ __forceinline__ Strip keys(int i) const { return at(a_.tiles.keys, i); }
  // Of a strip of rows that stay, or pass.
  __device__ __forceinline__ Strip rowsOf(int32_t tiles, int strip) const {
    return at(tiles, a_.tiles.kept > 1 ? strip : 0);
  }

  // q.k and, where a pass has a direction d, d.k. Returns whether this thread met keys that are not finite.
  __device__ __forceinline__ bool multiply(Pass kind, Token key, const float* direction, Pairs& scores, Pairs& along) {
    scores.setZero();
    along.setZero();
    const bool hasDirection = kind > Pass::mean, doStay = a_.strips() <= a_.tiles.kept;
    const bool isQueryRead = !doStay || loaded_ < 1, isDirectionRead = hasDirection && (!doStay || loaded_ < 2);
    bool found = false;
#pragma unroll 1
    for (int strip = 0; strip < a_.strips(); ++strip) {
      const int dims = p_.headDim - strip * kStripDims;
      const Strip queries = rowsOf(a_.tiles.queries, strip), directions = rowsOf(a_.tiles.directions, strip),
                  keyTile = keys(a_.strips() <= a_.tiles.keyTiles ? strip : 0);
      sync_block();  // nobody reads the tiles of before any more
      found |= readKeys(keyTile, p_.key, a_.isKeyAligned, key, strip * kStripDims, dims);
      if (isQueryRead) readQueries(queries, p_.query, strip, dims);
      if (isDirectionRead) readDirection(directions, direction, strip, dims);
      sync_block();
      Products::addPairs(scores, queries, keyTile, dims);
      if (hasDirection) Products::addPairs(along, directions, keyTile, dims);
    }
    loaded_ = hasDirection ? 2 : larger(loaded_, 1);
    return found;
  }

  // Of q.k; -inf where a row does not see the key. `seen`: how many keys of the tile it sees.
  __device__ __forceinline__ void score(Pairs& scores, Token key, int (&seen)[2]) const {
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const int row = ownRow() + slot * 8;
      seen[slot] = row < rows_ ? p_.end(query_ + row) - key : 0;
    }
    scores.forEach([&](float& x, int slot, int block, int i) {
      const int column = Products::firstPair() + Pairs::column(block, i);
      x = column < seen[slot] ? x * p_.scale : -INFINITY;
    });
  }

  // Scores become what keys or values are multiplied by.
  __device__ __forceinline__ void weigh(Pass kind, Pairs& scores, Pairs& along) const {
    const bool isCovariance = kind == Pass::covariance || kind == Pass::along;
    float base[2], mean[2];
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      base[slot] = numbers_.load(RowNumbers::kBase, ownRow() + slot * 8);
      mean[slot] = kind > Pass::along ? numbers_.load(RowNumbers::kAlong, ownRow() + slot * 8) : 0;
    }
    scores.forEach([&](float& score, int slot, int block, int i) {
      const float x = along.at(slot, block, i) - mean[slot], w = exp2_approx((score - base[slot]) * kLog2E);
      score = score == -INFINITY ? 0 : w * (isCovariance ? x : 1 - x);
    });
  }

  // Columns of keys or values that weights are multiplied with. Returns whether this thread met numbers that are not
  // finite.
  __device__ __forceinline__ bool readColumns(Pass kind, Token key, int firstColumn) const {
    const bool isValue = kind == Pass::output;
    const Operand& from = isValue ? p_.value : p_.key;
    const int dim = isValue ? p_.valueDim : p_.headDim;
    bool found = false;
    sync_block();  // nobody reads the keys any more
#pragma unroll 1
    for (int strip = 0; strip < stripsFrom(kind, firstColumn); ++strip) {
      const int first = firstColumn + strip * kStripDims;
      found |= readKeys(keys(strip), from, isValue ? a_.isValueAligned : a_.isKeyAligned, key, first, dim - first);
    }
    return found;
  }

  __device__ __forceinline__ bool readKeys(const Strip& to, const Operand& from, bool isAligned, Token key,
                                           int firstDim, int dims) const {
    const LinearRows<E> rows(from, batch_, key, head_ / p_.headsPerKey(), isAligned);
    return rows.copy(to, smaller<Token>(kChunkTokens, p_.keys - key), firstDim, dims, FeatureMap::identity);
  }
  __device__ __forceinline__ void readQueries(const Strip& to, const Operand& from, int strip, int dims) const {
    const LinearRows<E> rows(from, batch_, query_, head_, a_.isQueryAligned);
    rows.copy(to, rows_, strip * kStripDims, dims, FeatureMap::identity);
  }
  __device__ __forceinline__ void readDirection(const Strip& to, const float* direction, int strip, int dims) const {
    if (!p_.isSolved()) return readQueries(to, p_.correction, strip, dims);
    const int thread = ownThread();
#pragma unroll 1
    for (int i = 0; i < kStripDims / 4; ++i) {
      st_shared(to.element(thread / 4, i * 4 + thread % 4), direction[(strip * (kStripDims / 4) + i) * kLinearThreads]);
    }
  }

  // sums += pairs columns, where some of the columns' numbers are not finite and a row meets only what it sees. Rare.
  __device__ __forceinline__ void addSeen(Output& sums, const Strip& columns, const int (&seen)[2]) const {
#pragma unroll 1
    for (int block = 0; block < Products::kHalf / 8; ++block) {
#pragma unroll 1
      for (int key = 0; key < kChunkTokens; ++key) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float x = ld_shared_f32(columns.element(key, Products::firstColumn() + Output::column(block, i)));
#pragma unroll
          for (int slot = 0; slot < 2; ++slot) {
            float& sum = sums.at(slot, 0, i);
            if (key < seen[slot]) sum = fmaf(ld_shared_f32(pairs().element(ownRow() + slot * 8, key)), x, sum);
          }
        }
      }
      sums.rotate();
    }
  }
};

}  // namespace tilewise::cuda
