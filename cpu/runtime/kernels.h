// Kernels: what one instruction set offers. One table per target; the backend picks one at run time.
// Reader: the backend and whoever adds a target. Nothing here may be inline code that a linker could merge across
// targets.
#pragma once

#include "../../core/op/tile_rule.h"
#include "../../core/op/attention.h"
#include "../../core/op/rotary.h"
#include "../../core/op/selection.h"
#include "../../core/base/tile_map.h"

namespace tilewise::cpu {

// What a loop asks after each block of keys: false ends it, for its call is cancelled. The thread may do other work
// before it answers.
struct Pause {
  bool (*ask)(void* worker);
  void* worker;

  bool operator()() const { return ask(worker); }
};

// What the score rules do to pieces of a sequence's keys, where all heads share it: for each panel of rows a byte per
// piece, 1 + RuleEffect, 0 while nobody has looked. Whoever looks first notes it; all would note the same.
struct EffectTable {
  uint8_t* of = nullptr;  // null: not shared
  int64_t pieces = 0;

  uint8_t* panel(int64_t index) const { return of ? of + index * pieces : nullptr; }
};

// A query tile: rows [firstRow, firstRow + rows) of one KV head's map over the tokens of a sequence; of grids, a box of
// tokens of one head.
struct TileTask {
  const AttentionProblem* problem;
  Sequence sequence;
  TileMap map;
  int64_t firstRow;
  int32_t rows;  // of a grid: room for its panels
  TileShape shape;
  bool alignsBlocks;  // blocks of keys end at multiples of their length; else they are filled, however short the rows
  bool readsInPlace;  // float32 keys and values are read where they are: too few panels see each to pay for a copy
  GridTile grid;
  Pause pause;
  EffectTable effects;
};

// Whether a processor with AVX-512 also sums products of bytes (VNNI).
bool hasByteProducts();

// Decode: every row of `groups` consecutive KV heads of a sequence against keys [keys.begin, keys.end).
// Group g has `rows` rows, numbered by map.next(g).
struct DecodeTask {
  const AttentionProblem* problem;
  Sequence sequence;
  TileMap map;
  int32_t groups;
  int32_t rows;
  Range keys;
  Pause pause;
};

// Partial results of decode rows: running max and sum, unnormalised outputs. Group g's rows start at
// g * Kernels::decodeRows(rows).
struct PartialRows {
  float* max;  // [rows]
  float* sum;  // [rows]
  float* output;  // [rows][Kernels::rowFloats(valueDim)]
};

// Selection: every `stride`-th of a range of one head's queries, the last of each group.
struct SampledRows {
  const void* first;  // token 0
  DType dtype;
  int64_t tokenStride, dimStride;
  int headDim;
  Range queries;
  Token stride;
  int rows;
};

// Selection: keys of one head, in any order.
struct KeyList {
  const void* data;
  DType dtype;
  StoredRows rows;
  int64_t dimStride;
  int headDim;
  const Token* tokens;
  int count;
};

// Rotary embedding: a row and the rotations of its pairs.
struct RotatedRow {
  const void* from;
  int64_t fromStride;
  void* to;
  int64_t toStride;
  DType dtype;
  int headDim, pairs;
  bool isInterleaved;
  const float* rotations;  // of its pairs: cosines, then sines
};

constexpr int32_t kMaxDim = 4096;  // elements of a row

// The loop over tiles.
struct TileKernels {
  const char* name;
  int panel;  // query lanes per panel
  int64_t (*tileScratch)(const AttentionProblem&, TileShape);  // floats
  void (*runTile)(const TileTask&, float* scratch);
};

struct Kernels : TileKernels {
  const TileKernels* wide;  // the same with wider panels, for many rows; may be null
  int64_t (*decodeScratch)(const AttentionProblem&, int groups, int rows);
  int (*decodeRows)(int rows);  // rows a group's partial results take
  int (*rowFloats)(int valueDim);  // floats from one partial output to the next
  void (*decode)(const DecodeTask&, const PartialRows&, float* scratch);
  // Cosine: what divides each of `count` keys, that are `rowStride` elements apart, by its length; `row` has room for
  // one.
  void (*lengthFactors)(const void* first, DType type, int64_t rowStride, int64_t dimStride, int dim, int count,
                        float* row, float* to);
  // Unaligned strided rows to float32 and back, for the steps that are not worth a kernel of their own.
  void (*readRow)(const void* from, DType type, int64_t stride, int n, float* to);
  void (*writeRow)(const float* from, int n, DType type, int64_t stride, void* to);
  // Rotary embedding: writeRotations() of core, and a row's pairs rotated; `row` has room for them.
  void (*makeRotations)(const RotaryProblem&, int64_t batch, Token token, int32_t head, float* rotations);
  void (*rotateRow)(const RotatedRow&, float* row);
  // Selection: rows as scoreKeys() wants them, and the best score of each key among them; floats of both's memory.
  int64_t (*sampledFloats)(int headDim, int rows);
  void (*layOutRows)(const SampledRows&, float* to);
  int64_t (*keyFloats)(int headDim);
  void (*scoreKeys)(const KeyList&, const float* rows, int rowCount, float* staging, float* scores);
};

#if defined(TILEWISE_COUNT_VISITS)
// Test builds: pairs of a row of queries and a key that runTile() computes, without a mask or with one; all threads.
struct VisitCounts {
  int64_t computed = 0, unmasked = 0;
};
void countVisit(int64_t pairs, bool isUnmasked);
VisitCounts takeVisitCounts();  // since the last call
#endif

extern const Kernels kPortable;
#if defined(TILEWISE_X86)
extern const Kernels kAvx2, kAvx512;
extern const TileKernels kAvx512Wide;
#elif defined(TILEWISE_NEON)
extern const Kernels kNeon;
#endif

}  // namespace tilewise::cpu
