// ScoreTile: scores of 64 queries of a head and 64 keys, by a block of eight warps. Reader: someone who reads the
// kernels beside it. A warp has 16 rows and half of the columns; dims pass in strips of 64, and those of the operand
// that meets many tiles of the other stay in shared memory where there is room.
#pragma once

#include "../../core/base/softmax.h"
#include "../tiles/mma.h"
#include "../tiles/row_piece.h"
#include "params.h"

namespace tilewise::cuda {

enum class Kept { queries, keys };

template <class E, Kept kKept>
class ScoreTile {
 protected:
  using M = Mma<E>;
  using Tile = SharedTile<E, kStatsTile, kStatsTile>;
  using Scores = RegisterTile<1, kStatsTile / 2>;
  static constexpr int kColumns = kStatsTile / 2;  // of a warp

  // `task`: a head of a batch entry.
  __device__ __forceinline__ ScoreTile(const StatsParams& params, int64_t task)
      : p_(params.call), params_(params), task_(task), batch_(task / p_.queryHeads), head_(task % p_.queryHeads) {
    const int warp = warp_id();
    firstRow_ = warp / 2 * 16;
    firstColumn_ = warp % 2 * kColumns;
  }

  __device__ __forceinline__ saddr numbers() const { return smem_base() + params_.tiles.numbers; }
  // Of this lane's slot, and its column of a block.
  __device__ __forceinline__ int rowOf(int slot) const { return firstRow_ + Scores::row(slot); }
  __device__ __forceinline__ int columnOf(int block, int i) const { return firstColumn_ + Scores::column(block, i); }
  __device__ __forceinline__ Token seenBy(Token query) const { return p_.seenBy(batch_, query); }
  // Keys that some row of a tile of queries sees.
  __device__ __forceinline__ Token seenByTile(Token query) const {
    return seenBy(smaller(query + kStatsTile, p_.queries) - 1);
  }

  // The operand that stays is read again.
  __device__ __forceinline__ void forget() { isLoaded_ = false; }

  // All threads: scores of queries from `query` and keys from `key` on, which may be before the first. What a query
  // does not see is -inf.
  __device__ __forceinline__ void score(Scores& scores, Token query, Token key) {
    multiply(scores, query, key);
    int seen[2];
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const Token row = query + rowOf(slot);
      seen[slot] = row < p_.queries ? seenBy(row) - key : 0;
    }
    const int first = larger(0, -key);
    scores.forEach([&](float& x, int slot, int block, int i) {
      const int column = columnOf(block, i);
      x = column >= first && column < seen[slot] ? x * p_.scale : -INFINITY;
    });
  }

  // Scores become probabilities.
  __device__ __forceinline__ void weigh(Scores& scores, Token query) const {
    float lse[2];
#pragma unroll
    for (int slot = 0; slot < 2; ++slot) {
      const Token row = query + rowOf(slot);
      lse[slot] = row < p_.queries ? params_.lse[task_ * p_.queries + row] : -INFINITY;
    }
    scores.forEach([&](float& x, int slot, int, int) {
      const bool isSeen = x != -INFINITY && lse[slot] != -INFINITY;
      x = isSeen ? exp2_approx((x - lse[slot]) * kLog2E) : 0;
    });
  }

  // Calls f(element, the row's place in a matrix of all rows, column) for elements of the matrix.
  template <class F>
  __device__ __forceinline__ void forEachOfMatrix(Scores& scores, Token query, Token key, F&& f) const {
    scores.forEach([&](float& x, int slot, int block, int i) {
      const Token row = query + rowOf(slot), column = key + columnOf(block, i);
      if (row < p_.queries && column < p_.keys) f(x, rowOf(slot), column);
    });
  }

  const StatsCall& p_;
  const StatsParams& params_;
  int64_t task_, batch_, head_;

 private:
  __device__ __forceinline__ void multiply(Scores& scores, Token query, Token key) {
    const int strips = ceilDiv(p_.headDim, kStatsTile);
    const bool doStay = strips <= params_.tiles.kept;
    scores.setZero();
#pragma unroll 1
    for (int strip = 0; strip < strips; ++strip) {
      const Tile kept{smem_base() + (doStay ? strip * Tile::kBytes : 0)}, passing{smem_base() + params_.tiles.passing};
      const Tile &queries = kKept == Kept::queries ? kept : passing, &keys = kKept == Kept::queries ? passing : kept;
      sync_block();  // nobody reads the tiles of before any more
      const bool isKeptRead = !doStay || !isLoaded_;
      if (kKept == Kept::keys || isKeptRead) copyQueries(queries, query, strip);
      if (kKept == Kept::queries || isKeptRead) copyKeys(keys, key, strip);
      sync_block();
      addStrip(scores, queries, keys, p_.headDim - strip * kStatsTile);
    }
    isLoaded_ = true;
  }

  __device__ __forceinline__ void addStrip(Scores& scores, const Tile& queries, const Tile& keys, int dims) const {
    const saddr rowsAt = M::rowsAt(queries, firstRow_), columnsAt = M::columnsAt(keys, firstColumn_);
    const int steps = ceilDiv(smaller(kStatsTile, dims), M::kDepth);
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      typename M::Rows a;
      M::loadRows(a, queries, rowsAt, 0, step);
#pragma unroll
      for (int block = 0; block < kColumns / 16; ++block) {
        typename M::Columns b;
        M::loadColumns(b, keys, columnsAt, block, step);
        M::multiply(scores.v[0][2 * block], scores.v[0][2 * block + 1], a, b);
      }
    }
  }

  __device__ __forceinline__ void copyQueries(const Tile& to, Token first, int strip) const {
    const E* const from = static_cast<const E*>(p_.query.data) + p_.query.offset(batch_, 0, head_);
    copy(to, from, p_.query.dim, params_.isQueryAligned, first, p_.queries, strip,
         [&](Token t) { return t * p_.query.token; });
  }
  __device__ __forceinline__ void copyKeys(const Tile& to, Token first, int strip) const {
    const StoredRows rows = p_.keyRowsOf(batch_, head_ / p_.headsPerKey());
    copy(to, static_cast<const E*>(p_.key.data), p_.key.dim, params_.isKeyAligned, first, p_.keysOf(batch_), strip,
         [&](Token t) { return rows.at(t); });
  }
  // Rows that do not exist, and dims behind the last, are zeros.
  template <class At>
  __device__ __forceinline__ void copy(const Tile& to, const E* from, int64_t stride, bool isAligned, Token first,
                                       Token end, int strip, At&& at) const {
    using Piece = RowPiece<E>;
    constexpr int kPieces = kStatsTile / Piece::kCount;
    const int firstDim = strip * kStatsTile;
#pragma unroll 1
    for (int i = ownThread(); i < kStatsTile * kPieces; i += kStatsThreads) {
      const int row = i / kPieces, column = i % kPieces * Piece::kCount;
      const Token token = first + row;
      const bool exists = token >= 0 && token < end;
      const int count = exists ? clamp(p_.headDim - firstDim - column, 0, Piece::kCount) : 0;
      Piece piece;
      if (count > 0) piece.load(from + at(token) + (firstDim + column) * stride, stride, count, isAligned);
      st_shared(to.at(row, i % kPieces), piece.whole);
    }
  }

  int firstRow_, firstColumn_;
  bool isLoaded_ = false;
};

}  // namespace tilewise::cuda
