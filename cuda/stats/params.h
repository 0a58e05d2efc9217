// What the kernels of statistics are told. Reader: someone who reads a kernel or its launches (run.cc).
//
// Scores are computed by tile, once for each kind of result: by rows (lse, scores, keys of the largest), by columns
// (sums over queries, maxima, probabilities; blocks of them), and along diagonals. What has rows needs their lse first.
#pragma once

#include "../../core/op/stats.h"
#include "tuning.h"

namespace tilewise::cuda {

// Tiles in shared memory: strips of the operand that stays, one of the operand that passes, and numbers that warps
// share, in bytes from its base.
struct StatsTiles {
  int32_t kept;  // strips that stay; 1: they pass, too, if there are more
  int32_t passing, numbers;
};

struct StatsParams {
  StatsCall call;
  bool isQueryAligned, isKeyAligned;  // rows can be read 16 bytes at a time
  StatsTiles tiles;
  const float* lse;  // of all rows, as StatsCall::lse; what columns and diagonals subtract
  int64_t firstBlock;  // of this launch

  // By rows.
  float* lseOut;
  float* scores;  // of the tiles of this slice, kStatsTile rows of `keys` each; or of all rows
  int64_t firstTile;  // of the slice
  bool areScoresOfAll;

  // By columns. Rows of parts are [batch][queryHeads][groups][keys].
  int32_t groups;
  Token groupQueries;
  float *columns, *maxima;
  Token span;  // keys of an item that makes sums of blocks; 0: it makes parts
  int32_t spans, blocksPerSpan;

  TW_HOST_DEVICE int32_t queryTiles() const { return ceilDiv(call.queries, kStatsTile); }
  TW_HOST_DEVICE int32_t keyTiles() const { return ceilDiv(call.keys, kStatsTile); }
  TW_HOST_DEVICE int64_t scoreRow(int64_t tile, int row) const {
    const int64_t task = tile / queryTiles(), query = tile % queryTiles() * kStatsTile + row;
    return areScoresOfAll ? task * call.queries + query : (tile - firstTile) * kStatsTile + row;
  }
  TW_HOST_DEVICE int64_t partAt(int64_t task, int64_t group) const { return (task * groups + group) * call.keys; }
};

}  // namespace tilewise::cuda
