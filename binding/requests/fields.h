// How a request crosses from lib/ to native code: one Float64Array of the fields below, one array of typed arrays
// and device buffers.
// Reader: whoever adds an operand or an option. The order is stated here and nowhere else: lib/ asks the addon for the
// names. Strides and offsets count elements and are exact in a double up to 2^53.
#pragma once

#include <array>
#include <cstddef>

namespace tilewise {

// clang-format off
#define TW_OPERAND(X, name) X(name##Offset) X(name##ByBatch) X(name##ByToken) X(name##ByHead) X(name##ByDim)
#define TW_SCORES(X, name) X(name##Offset) X(name##ByBatch) X(name##ByHead) X(name##ByQuery) X(name##ByKey)
#define TW_ROWS(X, name) X(name##Offset) X(name##ByBatch) X(name##ByHead) X(name##ByToken)

#define TW_ATTENTION_FIELDS(X)                                                                            \
  X(device) X(batch) X(queryHeads) X(kvHeads) X(queries) X(keys) X(headDim) X(valueDim) X(type) X(sequences) \
  TW_OPERAND(X, query) TW_OPERAND(X, key) TW_OPERAND(X, value) TW_OPERAND(X, out) TW_ROWS(X, lse)         \
  X(scale) X(softcap) X(left) X(right) X(sinkTokens) X(align) X(alignOffset) X(pairing)                   \
  X(biasType) TW_SCORES(X, bias) TW_SCORES(X, mask)                                                       \
  X(slopesOffset) X(slopesByBatch) X(slopesByHead) X(sinksOffset) X(sinksByHead)                          \
  X(extraKeys) TW_OPERAND(X, extraKey) TW_OPERAND(X, extraValue) X(pages) X(pageSize)                     \
  X(pattern) TW_NEIGHBORHOOD(X) TW_SHARDS(X) TW_BLOCKS(X)

#define TW_PER_AXIS(X, name) X(name##0) X(name##1) X(name##2)
#define TW_NEIGHBORHOOD(X)                                                                               \
  X(rank) TW_PER_AXIS(X, length) TW_PER_AXIS(X, kernelSize) TW_PER_AXIS(X, stride) TW_PER_AXIS(X, dilation) \
  TW_PER_AXIS(X, causal) X(relativeOffset) X(relativeByHead) TW_PER_AXIS(X, relative)
#define TW_SHARDS(X)                                                                                   \
  X(shardBlockSize) X(shardLocalBlocks) X(shardLocalBlocksRight) X(shardVertStride) X(shardHeadStep) X(shardHeadOffset)    \
  X(shardHeadBase) X(shardHeadsPerLayout) X(shardFirstDense) X(shardRelative)
#define TW_BLOCKS(X)                                                                                    \
  X(blockQueries) X(blockKeys) X(headsPerList) X(listsByBatch) X(listsByHead) X(listWindow)

#define TW_ATTENTION_VIEWS(X)                                                                                    \
  X(query) X(key) X(value) X(out) X(lse) X(bias) X(mask) X(slopes) X(sinks) X(cuSeqlensQ) X(cuSeqlensK) X(keyLengths) \
  X(pageTable) X(extraKey) X(extraValue) X(relativeBias) X(blockBegins) X(blockCounts) X(blockStarts) X(blockMaskIndex) X(blockMasks)

// A merge has these fields once, then the part's fields for every part; its views are out and lse, then every part's.
#define TW_MERGE_FIELDS(X) \
  X(device) X(batch) X(heads) X(queries) X(valueDim) X(type) X(parts) TW_OPERAND(X, out) TW_ROWS(X, lse)
#define TW_MERGE_PART_FIELDS(X) TW_OPERAND(X, out) TW_ROWS(X, lse)

// A selection has these fields and views once, then the stage's for every stage.
#define TW_SELECT_FIELDS(X)                                                                             \
  X(device) X(batch) X(queryHeads) X(kvHeads) X(queries) X(keys) X(headDim) X(type) X(pairing)          \
  TW_OPERAND(X, query) TW_OPERAND(X, key) X(sink) X(window) X(headsPerList) X(method) X(strideKeys) \
  X(firstStage) X(stages)
#define TW_SELECT_VIEWS(X) X(query) X(key) X(keyLengths)
#define TW_SELECT_STAGE_FIELDS(X) X(blockQueries) X(strideQueries) X(chunk) X(keep)
#define TW_SELECT_STAGE_VIEWS(X) X(starts) X(counts)
// clang-format on

#define TW_ENUMERATOR(name) name,
#define TW_STRING(name) #name,

enum class Field : size_t { TW_ATTENTION_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_ATTENTION_VIEWS(TW_ENUMERATOR) count };
enum class MergeField : size_t { TW_MERGE_FIELDS(TW_ENUMERATOR) count };
enum class MergePartField : size_t { TW_MERGE_PART_FIELDS(TW_ENUMERATOR) count };
enum class SelectField : size_t { TW_SELECT_FIELDS(TW_ENUMERATOR) count };
enum class SelectSlot : size_t { TW_SELECT_VIEWS(TW_ENUMERATOR) count };
enum class SelectStageField : size_t { TW_SELECT_STAGE_FIELDS(TW_ENUMERATOR) count };
enum class SelectStageSlot : size_t { TW_SELECT_STAGE_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFieldNames{TW_ATTENTION_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(Slot::count)> kSlotNames{TW_ATTENTION_VIEWS(TW_STRING)};
constexpr std::array<const char*, size_t(MergeField::count)> kMergeFieldNames{TW_MERGE_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(MergePartField::count)> kMergePartFieldNames{TW_MERGE_PART_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(SelectField::count)> kSelectFieldNames{TW_SELECT_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(SelectSlot::count)> kSelectSlotNames{TW_SELECT_VIEWS(TW_STRING)};
constexpr std::array<const char*, size_t(SelectStageField::count)> kSelectStageFieldNames{
    TW_SELECT_STAGE_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(SelectStageSlot::count)> kSelectStageSlotNames{
    TW_SELECT_STAGE_VIEWS(TW_STRING)};

}  // namespace tilewise
