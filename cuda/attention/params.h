// AttentionParams: what the attention kernels are given: the problem itself, and how it is cut among blocks.
// Reader: whoever reads a kernel or plans a launch. Written by launch_plan.cc, one struct for all kernels.
#pragma once

#include "../../core/op/attention.h"
#include "../../core/base/tile_map.h"
#include "tuning.h"

namespace tilewise::cuda {

// What the score rules do to the keys of each tile, kEffectKeys at a time: a piece. rule_effects.h writes the table
// before the attention kernel reads it.
struct EffectTable {
  static constexpr int kPieces = 8;  // of a group
  // A bit for each piece: hidden from all rows of the tile, unchanged for all of them.
  struct Group {
    uint8_t hidden, unchanged;
  };

  Group* groups = nullptr;  // [row][pitch]; null: nothing is known
  int32_t pitch = 0;
  int32_t maps = 1;  // that have rows of their own: 1 where the values do not depend on the head
  bool isPerSequence = false;  // else the rows of all sequences are those of the first
};

struct AttentionParams {
  AttentionProblem problem;  // all pointers on the device
  ScoreScale scale;          // the problem's: as a parameter it takes no register

  // Rows of an operand can be copied 16 bytes at a time.
  bool queryIsAligned, keyIsAligned, valueIsAligned, extraKeysAreAligned, extraValuesAreAligned, outIsAligned;

  int32_t firstColumn;  // of the values that the launch computes, among those that have codes

  // Which rows of queries a sequence has. They are cut into tiles, which do not cross multiples of rowsPerBlock.
  TileMap map;
  int32_t maps;           // how many maps there are, one for each group of heads that shares tiles
  int64_t rowsPerBlock;   // 0: all rows are one block
  uint32_t tiles;         // per map, of the longest sequence
  bool isHeaviestFirst;   // later tiles see more keys: they start first, so that light ones fill the end of the grid
  // Packed: [sequences + 1] tiles of one map before each sequence. A sequence without tiles belongs to another launch.
  // Not packed: null.
  const int64_t* tileStarts;

  // Grids: a tile is a box of places of a dilation group, 2^boxLog2 along each of three axes.
  int32_t boxLog2[kMaxRank];
  Token boxes[kMaxRank];  // tiles along each axis

  // Few queries: their keys are cut into `splits` pieces of splitKeys tokens, and the combine kernel joins the results.
  int32_t splits;
  Token splitKeys;
  Token longestQueries;  // of a sequence
  // [sequence][head][query of longestQueries][split]: weighted sums, valueDim floats each, and softmax states.
  float* partialOutputs;
  struct State {
    float max, sum;
  };
  State* partialStates;

  EffectTable effects;

  TW_HOST_DEVICE bool takes(int32_t sequence) const {
    return !tileStarts || tileStarts[sequence] < tileStarts[sequence + 1];
  }
  TW_HOST_DEVICE int64_t partial(int32_t sequence, int32_t head, Token query, int32_t split) const {
    return ((int64_t(sequence) * problem.outputHeads() + head) * longestQueries + query) * splits + split;
  }
  // The table's groups for the tile of a block; null where nothing is known.
  TW_HOST_DEVICE const EffectTable::Group* effectsOf(int32_t sequence, uint32_t block) const {
    if (!effects.groups) return nullptr;
    const uint32_t first = tileStarts ? uint32_t(tileStarts[sequence]) : uint32_t(sequence) * tiles;
    const uint32_t count = tileStarts ? uint32_t(tileStarts[sequence + 1]) - first : tiles;
    uint32_t row = block / uint32_t(splits) - first * uint32_t(maps);
    if (effects.maps == 1) row %= count;
    if (effects.isPerSequence) row += first * uint32_t(effects.maps);
    return effects.groups + int64_t(row) * effects.pitch;
  }
};

// Of the kernel that writes the table of effects.
struct EffectParams {
  // The attention kernel's, except that a block is a row of the table: splits, and heads and sequences that repeat
  // others, are left out.
  AttentionParams attention;
  int32_t tileRows;
  int64_t first, count;  // groups: the launch's first, and how many the table has
};

// Of the kernel that writes what divides rows by their lengths: those of [batch entries, tokens, heads, dims].
struct LengthParams {
  Operand rows;
  KeyStore store;  // where they are
  bool isAligned;  // can be read 16 bytes at a time
  int32_t heads, dims;
  Token tokens, used;  // of a batch entry; those from `used` on are not read
  const int32_t *starts, *ends;  // null, or the tokens of each batch entry that are read
  float* factors;  // [batch entries][heads][tokens]
  int64_t first, count;  // rows: the launch's first, and how many there are
};

}  // namespace tilewise::cuda
