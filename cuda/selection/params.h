// SelectionParams: what the kernels of a selection are given, and the memory they share.
// Reader: someone who reads a kernel, or the launch plan (run.cc).
//
// A stage is three steps: candidates (later stages: which chunks there are), scores (a number per candidate and head),
// lists (the best are kept). Every query block of every list has a slot in memory, through which a step passes its
// results to the next. A group of blocks, consecutive slots, searches the same candidates together.
#pragma once

#include "../../core/op/selection.h"
#include "../tiles/best_shape.h"
#include "tuning.h"

namespace tilewise::cuda {

// The shared memory of a thread block that scores, and its part of the work. Pitches and offsets are in bytes.
struct SearchShape {
  int32_t pieces;  // a row of elements is so many pieces of 16 bytes, with zeros up to whole products
  // Keys: rows of `keyPitch`, `chunkPitch` from chunk to chunk. Rows start in the same bank, chunks one piece apart:
  // the eight rows that a matrix instruction reads at once belong to eight chunks.
  int32_t keyPitch, chunkPitch;
  int32_t queryOffset, queryPitch;  // query rows follow the keys, each one piece further along the banks
  int32_t chunksPerTile, tilesPerBlock;  // candidates that are searched together; how often
  int32_t ranges;  // thread blocks that share the candidates of a group
  int32_t searchers;  // warps that search; the others only copy
  int32_t rowsPerPair, pairsPerBatch;  // query rows of a block under a head; of how many such pairs at once
  bool isAhead;  // there is room for the next batch of pairs while one is searched
};

struct SelectionParams {
  SelectionProblem problem;
  int32_t stage;
  bool isQueryAligned, isKeyAligned;  // rows can be copied 16 bytes at a time
  int64_t firstGroup;  // of this launch
  int32_t blocksPerGroup;
  int64_t slots;  // of this launch
  int64_t candidates;  // room per slot
  SearchShape search;
  bool isFirst, isLast;  // tree: of its rounds
  // Per slot: counts; starts [candidates] of later stages; ranges of blocks that tree has kept [candidates] and their
  // halves [candidates]; scores as ranks [heads of a list][candidates].
  int32_t* counts;
  Token* starts;
  Range *kept, *halves;
  uint32_t* ranks;

  TW_HOST_DEVICE const SelectionStage& now() const { return problem.stage[stage]; }
  TW_HOST_DEVICE int64_t groupsPerList() const { return ceilDiv<int64_t>(problem.blocks(stage), blocksPerGroup); }
};

// The query block that a slot belongs to.
struct Place {
  int32_t batch, list;
  Token block;
  bool exists;  // the last group of a list may have slots to spare

  TW_HOST_DEVICE Place(const SelectionParams& p, int64_t slot) {
    const int64_t group = p.firstGroup + slot / p.blocksPerGroup, perList = p.groupsPerList();
    batch = int32_t(group / perList / p.problem.lists());
    list = int32_t(group / perList % p.problem.lists());
    block = Token(group % perList * p.blocksPerGroup + slot % p.blocksPerGroup);
    exists = block < p.problem.blocks(p.stage);
  }
};

}  // namespace tilewise::cuda
