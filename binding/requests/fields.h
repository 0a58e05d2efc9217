// How a request crosses from lib/ to native code: one Float64Array of fields, one array of typed arrays and device
// buffers. Here: attention's, and what lists of fields are made of; patterns and other operations have
// their lists in their files.
// Reader: someone who adds an operand or an option. The order is stated here and nowhere else: lib/ asks the addon for
// the names. Strides and offsets count elements and are exact in a double up to 2^53.
#pragma once

#include <array>
#include <cstddef>

#include "../../core/score/rules.h"

namespace tilewise {

// Enumerators and names from a list of fields or views.
#define TW_ENUMERATOR(name) name,
#define TW_STRING(name) #name,

// clang-format off
#define TW_OPERAND(X, name) X(name##Offset) X(name##ByBatch) X(name##ByToken) X(name##ByHead) X(name##ByDim)
#define TW_RULE(Rule, name, X) X(name##Type) X(name##Offset) X(name##Stride0) X(name##Stride1) X(name##Stride2) X(name##Stride3) X(name##IsOfKvHeads)
#define TW_RULE_VIEW(Rule, name, X) X(name)
#define TW_ROWS(X, name) X(name##Offset) X(name##ByBatch) X(name##ByHead) X(name##ByToken)

#define TW_ATTENTION_FIELDS(X)                                                                            \
  X(device) X(batch) X(queryHeads) X(kvHeads) X(queries) X(keys) X(headDim) X(valueDim) X(type) X(keyType) X(sequences) \
  TW_OPERAND(X, query) TW_OPERAND(X, key) TW_OPERAND(X, value) TW_OPERAND(X, out) TW_ROWS(X, lse)         \
  X(scale) X(softcap) X(isCosine) X(activation) X(activationBias) X(isActivationBiasOfKeys) \
  X(left) X(right) X(sinkTokens) X(align) X(alignOffset) X(pairing) \
  TW_RULE(ScoreFactor, scoreFactor, X) TW_SCORE_RULES(TW_RULE, X) X(sinksOffset) X(sinksByHead)                                                \
  X(gateType) X(gateOffset) X(gateByBatch) X(gateByToken) X(gateByHead)                                   \
  X(extraTokens) TW_OPERAND(X, extraKeys) TW_OPERAND(X, extraValues) X(pages) X(pageSize)                     \
  X(pattern)                                                                                              \
  X(codeTiers) X(codeBlock) X(keyCodeAxis) X(keyCodeGroup) X(valueCodeGroup)                              \
  X(keyBits0) X(valueBits0) X(keyBits1) X(valueBits1) X(keyBits2) X(valueBits2)

#define TW_ATTENTION_VIEWS(X)                                                                                    \
  X(query) X(key) X(value) X(out) X(keyLengths) X(pageTable) X(lse) X(scoreFactor) TW_SCORE_RULES(TW_RULE_VIEW, X) X(sinks)     \
  X(cuSeqlensQ) X(cuSeqlensK) X(keyStarts) X(queryPositions) X(keyPositions) X(extraKeys) X(extraValues) X(gate) \
  X(codes0) X(codes1) X(codes2) X(codeTable) X(codedKeys) X(codedValues)
// clang-format on

enum class Field : size_t { TW_ATTENTION_FIELDS(TW_ENUMERATOR) count };
enum class Slot : size_t { TW_ATTENTION_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(Field::count)> kFieldNames{TW_ATTENTION_FIELDS(TW_STRING)};

}  // namespace tilewise
