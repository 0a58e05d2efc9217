// Queries: which query is in which row of a tile. Reader: someone who adds a way to cut queries into tiles.
#pragma once

#include "../../core/op/window_of_head.h"
#include "work.h"

namespace tilewise::cuda {

// One row. Rows past the last query repeat a real one, so that nothing has to ask before it looks; they are not stored.
template <int Rank>
struct Query {
  bool isReal;
  Token token;  // within the sequence
  int32_t head;
  Token place[Rank];  // what the pattern counts by: the token itself, or the place on each axis of a grid

  __device__ __forceinline__ Box<Rank> box() const {
    Box<Rank> box;
#pragma unroll
    for (int a = 0; a < Rank; ++a) box.axis[a] = {place[a], place[a] + 1};
    return box;
  }
};

// As score rules see it.
template <int Rank>
__device__ __forceinline__ ScoreQuery scoreQueryOf(const Sequence& sequence, const Query<Rank>& query, int32_t kvHead) {
  const int64_t token = sequence.queries.begin + query.token;
  ScoreQuery q{sequence.batch, sequence.keyBatch, query.head, kvHead, token, sequence.keys.begin, {}};
#pragma unroll
  for (int a = 0; a < Rank; ++a) q.place[a + kMaxRank - Rank] = query.place[a];
  return q;
}

template <class Q>
__device__ __forceinline__ OutputRow outputRowOf(const Sequence& sequence, const Q& query) {
  return {sequence.batch, sequence.queries.begin + query.token, query.head};
}

// The stream: consecutive tokens of one head.
struct TokenQueries {
  int32_t head;
  Token first;
  int32_t count;

  __device__ __forceinline__ TokenQueries(const Work& work, int tileRows)
      : head(work.map.firstHead),
        first(Token(work.tile) * tileRows),
        count(clamp<Token>(work.sequence.queries.size() - first, 0, tileRows)) {}

  __device__ __forceinline__ Query<1> at(int row) const {
    const Token token = first + smaller(row, count - 1);
    return {row < count, token, head, {token}};
  }
  __device__ __forceinline__ Box<1> box() const { return {{{first, first + count}}}; }
};

// Sequences: consecutive rows of a map of tokens and heads.
struct MapQueries {
  int32_t head, headsPerToken;
  Token firstToken;
  int32_t firstOfToken;  // which of its token's rows the first one is
  int32_t count;

  __device__ __forceinline__ MapQueries(const AttentionParams& p, const Work& work, int tileRows)
      : head(work.map.firstHead), headsPerToken(work.map.headsPerToken) {
    const int64_t rows = work.map.rows(work.sequence.queries.size());
    int64_t first = int64_t(work.tile) * tileRows, end = rows;
    if (p.rowsPerBlock > 0) {
      const uint32_t perBlock = uint32_t(ceilDiv<int64_t>(p.rowsPerBlock, tileRows));
      const int64_t begin = work.tile / perBlock * p.rowsPerBlock;
      first = begin + int64_t(work.tile % perBlock) * tileRows;
      end = smaller(rows, begin + p.rowsPerBlock);
    }
    count = int32_t(clamp<int64_t>(end - first, 0, tileRows));
    const TileMap::Row row = work.map.at(first);
    firstToken = row.token;
    firstOfToken = row.head - head;
  }

  __device__ __forceinline__ Query<1> at(int row) const {
    const int32_t r = firstOfToken + smaller(row, count - 1);
    const Token token = firstToken + r / headsPerToken;
    return {row < count, token, head + r % headsPerToken, {token}};
  }
  __device__ __forceinline__ Box<1> box() const {
    return {{{firstToken, firstToken + (firstOfToken + count - 1) / headsPerToken + 1}}};
  }
};

// Grids: a box of places of one dilation group, rows along the last axis.
struct GridQueries {
  int32_t head;
  int32_t count;  // rows of the whole box
  Box<kMaxRank> places;  // of queries that exist
  int32_t log2[kMaxRank];
  Token origin, step[kMaxRank];

  template <class Pattern>
  __device__ __forceinline__ GridQueries(const AttentionParams& p, const Work& work, const Pattern& pattern,
                                         int tileRows)
      : head(work.map.firstHead), count(tileRows), origin(pattern.origin) {
    uint32_t tile = work.tile;
#pragma unroll
    for (int a = kMaxRank - 1; a >= 0; --a) {
      log2[a] = p.boxLog2[a];
      step[a] = pattern.step[a];
      const Token begin = Token(tile % p.boxes[a]) << log2[a];
      tile /= p.boxes[a];
      places.axis[a] = intersect({begin, begin + (1 << log2[a])}, {0, pattern.axis[a].length});
      if (places.axis[a].isEmpty()) count = 0;
    }
  }

  __device__ __forceinline__ Query<kMaxRank> at(int row) const {
    Query<kMaxRank> query{true, origin, head, {}};
#pragma unroll
    for (int a = kMaxRank - 1; a >= 0; --a) {
      const Range& axis = places.axis[a];
      const Token place = axis.begin + (row & ((1 << log2[a]) - 1));
      row >>= log2[a];
      query.isReal &= place < axis.end;
      query.place[a] = smaller(place, axis.end - 1);
      query.token += query.place[a] * step[a];
    }
    return query;
  }
  __device__ __forceinline__ Box<kMaxRank> box() const { return places; }
};

template <class Pattern>
__device__ __forceinline__ auto queriesOf(const AttentionParams& p, const Work& work, const Pattern& pattern,
                                          int tileRows) {
  if constexpr (Pattern::kIsGrid) {
    return GridQueries(p, work, pattern, tileRows);
  } else {
    return MapQueries(p, work, tileRows);
  }
}

// The pattern of a block; as OneWindow, its head's. A grid's `tile` numbers the dilation group, too; it becomes the
// tile within the group.
template <class Pattern>
__device__ __forceinline__ void patternOf(const AttentionParams& p, Work& work, Pattern& pattern) {
  int32_t group = 0;
  if constexpr (Pattern::kIsGrid) {
    const uint32_t perGroup = uint32_t(p.boxes[0] * p.boxes[1] * p.boxes[2]);
    group = int32_t(work.tile / perGroup);
    work.tile %= perGroup;
  }
  if constexpr (std::is_same_v<Pattern, OneWindow>) {
    pattern = windowOf(p.problem, work.sequence, work.map.firstHead);
  } else {
    pattern = tilewise::patternOf<Pattern>(p.problem, work.sequence, group);
  }
}

}  // namespace tilewise::cuda
