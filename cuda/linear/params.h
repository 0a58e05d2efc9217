// What the kernels of linear attention are told. Reader: someone who reads a kernel or its launches (run.cc).
//
// A task is a sequence and a KV head; a block of threads has the tokens of one of its groups and `Columns` columns of
// its values and state. Where there are several groups, their states go through memory: slot g of a task has what group
// g leaves when it begins with 0, and after the carry what it begins with; the slot behind the last one has what is
// left.
#pragma once

#include "../../core/op/linear.h"
#include "tuning.h"

namespace tilewise::cuda {

// Where things are in shared memory, in bytes from its base.
struct LinearShape {
  int32_t keyTiles;  // strips of keys that stay for all query heads of a chunk
  int32_t stateTiles;  // strips of the state that stay for all chunks; or one, and the state is in memory
  bool isResident;  // the former
  int32_t queries, features, keys, values, states, normalizer, rows;
};

struct LinearParams {
  int32_t headDim, valueDim, features, kvHeads, headsPerState;
  FeatureMap featureMap;
  bool isCausal, isNormalized, isSplit;
  float scale, eps;
  float taylorSingle, taylorRoot, taylorSquare;  // headDim^(-1/4), its square, and that over sqrt(2)
  int32_t chunk;
  bool isQueryAligned, isKeyAligned, isValueAligned;  // rows can be read 16 bytes at a time
  Operand query, key, value, out;
  const float* decay;
  int64_t decayBatch, decayToken, decayHead;
  const float *stateIn, *normalizerIn;
  float *state, *normalizer;
  const int32_t* cuSeqlens;
  Token queries, keys;

  int32_t columnBlocks, groups, outputGroups;
  Token groupTokens;
  int64_t firstBlock;  // of this launch
  int64_t firstCarried, carried;
  float* slots;
  LinearShape shape;

  // Of a slot: a state, row-major, its normalizer, and e^(decay of all tokens).
  TW_HOST_DEVICE int64_t slotFloats() const { return normalizerAt() + features + 1; }
  TW_HOST_DEVICE int64_t normalizerAt() const { return int64_t(features) * valueDim; }
  TW_HOST_DEVICE int64_t decayAt() const { return normalizerAt() + features; }
  TW_HOST_DEVICE float* slot(int64_t task, int64_t group) const {
    return slots + (task * (groups + 1) + group) * slotFloats();
  }

  TW_HOST_DEVICE LinearSequence sequence(int64_t s) const {
    if (!cuSeqlens) return {s, s, {0, queries}, {0, keys}};
    const Range tokens{cuSeqlens[s], cuSeqlens[s + 1]};
    return {s, 0, tokens, tokens};
  }
};

}  // namespace tilewise::cuda
