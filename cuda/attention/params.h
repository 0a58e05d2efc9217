// AttentionParams: what the attention kernels are given: the problem itself, and how it is cut among blocks.
// Reader: whoever reads a kernel or plans a launch. Written by launch_plan.cc, one struct for all kernels.
#pragma once

#include "../../core/op/attention.h"
#include "../../core/base/tile_map.h"
#include "tuning.h"

namespace tilewise::cuda {

struct AttentionParams {
  AttentionProblem problem;  // all pointers on the device
  ScoreScale scale;          // the problem's: as a parameter it takes no register

  // Rows of an operand can be copied 16 bytes at a time.
  bool queryIsAligned, keyIsAligned, valueIsAligned, extraKeysAreAligned, extraValuesAreAligned, outIsAligned;

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

  TW_HOST_DEVICE bool takes(int32_t sequence) const {
    return !tileStarts || tileStarts[sequence] < tileStarts[sequence + 1];
  }
  TW_HOST_DEVICE int64_t partial(int32_t sequence, int32_t head, Token query, int32_t split) const {
    return ((int64_t(sequence) * problem.outputHeads() + head) * longestQueries + query) * splits + split;
  }
};

}  // namespace tilewise::cuda
