// AttentionProblem: everything a backend needs to know to run one attention call, as plain data.
// Reader: backend authors. Filled by the binding after lib/ has validated it; shapes and strides are consistent, every
// addressed element is inside its buffer. Pointers belong to the caller and outlive the call.
#pragma once

#include <type_traits>

#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/placed.h"
#include "../base/softmax.h"
#include "../pattern/grid.h"
#include "../pattern/block_list.h"
#include "../pattern/strided_shards.h"
#include "../pattern/window_or_ranges.h"
#include "../score/activation.h"
#include "../score/cosine.h"
#include "../score/rules.h"
#include "../score/scale.h"
#include "../score/score_factor.h"
#include "../store/key_store.h"
#include "gate.h"

namespace tilewise {

// Which query head meets which KV head when there are more KV heads than query heads (reverse SQA, arXiv 2510.01817):
// output head j reads query head j mod Hq (tile) or floor(j * Hq / Hkv) (interleave).
enum class Pairing : int32_t { tile = 0, interleave = 1 };

enum class Align : int32_t { bottomRight = 0, topLeft = 1, explicitOffset = 2 };

// The window as the caller states it; patternOf() resolves it for one sequence's lengths.
struct WindowOptions {
  Token left = Window::kUnbounded;
  Token right = Window::kUnbounded;
  Token sinkTokens = 0;
  Align align = Align::bottomRight;
  Token offset = 0;  // used with Align::explicitOffset
  HeadWindows heads{};  // windows alone: where they differ left, right and sinkTokens are the most that a head has
};

// Position of query 0 among the keys.
TW_HOST_DEVICE Token offsetOf(const WindowOptions& w, Token queries, Token keys) {
  return w.align == Align::bottomRight ? keys - queries : w.align == Align::topLeft ? 0 : w.offset;
}

enum class PatternKind : int32_t { window, neighborhood, stridedShards, blocks, ranges };
constexpr PatternKind kLastPattern = PatternKind::ranges;

// One sequence: which rows are its queries and keys, and of which batch entry; on pages, of which row of the table.
struct Sequence {
  int64_t batch;
  Range queries;
  Range keys;
  int64_t keyBatch = batch;  // and whose block lists and row of `keyMask` it has
  Token keyStart = 0;  // loops leave out the keys before it, whatever the pattern's runs

  TW_HOST_DEVICE Token keysInUse() const { return keys.size() - keyStart; }
};

// Where tokens are for rules that count distances, when not in a row: lists of every batch entry, or one for all. Only
// these rules ask; what a query sees is the pattern's to say.
struct RulePositions {
  const int32_t* ofQueries = nullptr;
  const int32_t* ofKeys = nullptr;
  int64_t queriesByBatch = 0, keysByBatch = 0;  // from one batch entry's list to the next

  TW_HOST_DEVICE bool areGiven() const { return ofQueries != nullptr; }
  TW_HOST_DEVICE Token ofQuery(int64_t batch, Token token) const { return ofQueries[batch * queriesByBatch + token]; }
  TW_HOST_DEVICE const int32_t* keysOf(int64_t batch) const { return ofKeys + batch * keysByBatch; }
};

struct AttentionProblem {
  int32_t batch = 0;  // batch entries of the operands; 1 when packed
  int32_t queryHeads = 0, kvHeads = 0;
  Token queries = 0, keys = 0;  // tokens per batch entry, the total when packed
  int32_t headDim = 0, valueDim = 0;
  DType dtype = DType::float32;  // of query and out
  // Of key, value and the extra ones: dtype, or any where that is float32. Loops read them as the floats that they are.
  DType keyType = DType::float32;

  Operand query, key, value, out;
  KeyStore store;  // where the rows of key and value are
  Placed<float> lse = nullptr;  // optional
  int64_t lseBatch = 0, lseHead = 0, lseToken = 0;

  float scale = 1;
  float softcap = 0;  // 0: off
  Pairing pairing = Pairing::tile;

  PatternKind pattern = PatternKind::window;
  WindowOptions window;  // also where queries of the other 1-D patterns are among the keys
  Grid grid;
  ShardOptions shards;
  BlockLists blocks;
  RangeTables ranges;

  // What every query sees, whatever the pattern says: registers, text tokens. [batch, extraTokens, kvHeads, dim].
  Token extraTokens = 0;
  Operand extraKeys, extraValues;

  Cosine cosine;  // before softcap
  ScoreFactor scoreFactor;  // after softcap
  ScoreRules rules;  // after the factor
  RulePositions positions;  // of tokens, for the rules
  Placed<const float> sinks = nullptr;  // one logit per output head, in the denominator only
  int64_t sinksHead = 0;
  Activation activation;  // sinks and lse are those of softmax
  Gate gate;

  // A caller's lists are on the host, those of the store too.
  int32_t sequences = 0;  // batch, or the number of packed sequences
  const int32_t* cuSeqlensQ = nullptr;  // packed: [sequences + 1] running totals, ascending from 0
  const int32_t* cuSeqlensK = nullptr;  // null on pages: there every sequence has keys of its own
  const int32_t* keyLengths = nullptr;  // [sequences] keys in use where they are not packed, the rest is never read
  const int32_t* keyStarts = nullptr;  // [batch] the first key in use, at most the length; not for packed sequences

  // Whether the result has no elements; then it has no memory either.
  bool isEmpty() const { return out.data == nullptr; }

  TW_HOST_DEVICE int32_t outputHeads() const { return larger(queryHeads, kvHeads); }
  // The larger number of heads is a multiple of the smaller.
  TW_HOST_DEVICE int32_t queryHeadOf(int32_t head) const {
    if (kvHeads <= queryHeads) return head;
    return pairing == Pairing::tile ? head % queryHeads : head / (kvHeads / queryHeads);
  }
  TW_HOST_DEVICE int32_t kvHeadOf(int32_t head) const {
    return kvHeads < queryHeads ? head / (queryHeads / kvHeads) : head;
  }
  TW_HOST_DEVICE int32_t headsPerKvHead() const { return larger(1, outputHeads() / kvHeads); }

  // Calls visit(list, length) for the lists by which the pattern, or the store of so many keys, finds keys.
  template <class Visit>
  void forEachList(Token stored, Visit&& visit) {
    store.forEachList(sequences, stored, visit);
    blocks.forEachList(sequences, outputHeads(), longestQueries(), visit);
    ranges.forEachList(sequences, outputHeads(), queries, visit);
    if (window.heads.differ()) visit(window.heads.values, window.heads.length());
    if (!positions.areGiven()) return;
    visit(positions.ofQueries, (positions.queriesByBatch > 0 ? batch : 1) * int64_t(queries));
    visit(positions.ofKeys, (positions.keysByBatch > 0 ? batch : 1) * int64_t(keys));
  }

  // Whether scores are asked for as they are, by what changes them or by an activation: their scale cannot wait for
  // softmax.
  TW_HOST_DEVICE bool areScoresAsked() const { return changesScores() || !activation.isSoftmax(); }
  TW_HOST_DEVICE ScoreScale scoreScale() const { return {scale, softcap, areScoresAsked()}; }
  // The same for a loop that multiplies its queries by scaleOfQueries().
  TW_HOST_DEVICE ScoreScale scoreScaleAfterQueries() const {
    return {scaleAfterQueries(scale), softcap, areScoresAsked()};
  }
  TW_HOST_DEVICE bool hasFactors() const { return cosine.isUsed || scoreFactor.isPresent(); }
  TW_HOST_DEVICE bool changesScores() const { return hasFactors() || rules.areAny() || blocks.addends; }

  // Whether rows that the gate closes need not be computed.
  TW_HOST_DEVICE bool skipsClosedRows() const { return gate.isPresent() && !lse; }
  TW_HOST_DEVICE const float* sink(int32_t head) const { return sinks ? sinks + head * sinksHead : nullptr; }
  TW_HOST_DEVICE float* lseAt(int64_t b, int64_t token, int64_t head) const {
    return lse + b * lseBatch + head * lseHead + token * lseToken;
  }

  TW_HOST_DEVICE Sequence sequence(int32_t s) const {
    if (cuSeqlensK) return {0, {cuSeqlensQ[s], cuSeqlensQ[s + 1]}, {cuSeqlensK[s], cuSeqlensK[s + 1]}};
    const Range used{0, keyLengths ? keyLengths[s] : keys};
    if (cuSeqlensQ) return {0, {cuSeqlensQ[s], cuSeqlensQ[s + 1]}, used, s};
    return {s, {0, queries}, used, s, keyStarts ? keyStarts[s] : 0};
  }
  // The most queries and keys that a sequence has. Reads lengths.
  Token longestQueries() const {
    Token most = cuSeqlensQ ? 0 : queries;
    for (int32_t s = 0; cuSeqlensQ && s < sequences; ++s) most = larger(most, sequence(s).queries.size());
    return most;
  }
  Token longestKeys() const {
    const bool haveLengths = cuSeqlensK || keyLengths;
    Token most = haveLengths ? 0 : keys;
    for (int32_t s = 0; haveLengths && s < sequences; ++s) most = larger(most, sequence(s).keys.size());
    return most;
  }
};

// Every pattern as GPUs run it: X(name of its kernels, type, ...), grids on three axes.
#define TW_PATTERNS(X, ...)                            \
  X(window, WindowOrRanges, __VA_ARGS__)               \
  X(neighborhood, Neighborhood<kMaxRank>, __VA_ARGS__) \
  X(shards, StridedShards, __VA_ARGS__)                \
  X(blocks, BlockList, __VA_ARGS__)

// The pattern of one sequence, given its type; of a grid, that of a dilation group.
template <class Pattern>
TW_HOST_DEVICE Pattern patternOf(const AttentionProblem& p, const Sequence& s, int32_t group = 0) {
  const Token keys = s.keys.size(), offset = offsetOf(p.window, s.queries.size(), keys);
  Token sinkEnd = p.window.sinkTokens;
  if (sinkEnd > 0) sinkEnd += s.keyStart;
  const OneWindow window{keys, p.window.left, p.window.right, offset, sinkEnd};
  if constexpr (std::is_same_v<Pattern, Window>) {
    return {keys, window.left, window.right, offset, sinkEnd, p.window.heads, s.keyStart};
  } else if constexpr (std::is_same_v<Pattern, OneWindow>) {
    return window;
  } else if constexpr (std::is_same_v<Pattern, StridedShards>) {
    return {p.shards, keys, offset};
  } else if constexpr (std::is_same_v<Pattern, BlockList>) {
    return {p.blocks, window, s.keyBatch};
  } else if constexpr (std::is_same_v<Pattern, QueryRanges>) {
    return {p.ranges, s.queries.size(), keys, s.keyBatch};
  } else if constexpr (std::is_same_v<Pattern, WindowOrRanges>) {
    return {patternOf<Window>(p, s), patternOf<QueryRanges>(p, s)};
  } else {
    return neighborhoodOf<Pattern::kRank>(p.grid, group);
  }
}

// Returns visit(pattern) with the pattern of one sequence, of whatever type it is: the one place that asks.
template <class Visit>
TW_HOST_DEVICE auto withPattern(const AttentionProblem& p, const Sequence& s, Visit&& visit, int32_t group = 0) {
  switch (p.pattern) {
    case PatternKind::neighborhood:
      if (p.grid.rank == 1) return visit(patternOf<Neighborhood<1>>(p, s, group));
      if (p.grid.rank == 2) return visit(patternOf<Neighborhood<2>>(p, s, group));
      return visit(patternOf<Neighborhood<3>>(p, s, group));
    case PatternKind::stridedShards: return visit(patternOf<StridedShards>(p, s));
    case PatternKind::blocks: return visit(patternOf<BlockList>(p, s));
    case PatternKind::ranges: return visit(patternOf<QueryRanges>(p, s));
    case PatternKind::window: break;
  }
  return visit(patternOf<Window>(p, s));
}

// Finishes a row, as finishRow() of core/base/softmax.h: returns what its sums are multiplied by. A row that the gate
// closes is 0 whatever its sums are.
TW_HOST_DEVICE float finishRow(const AttentionProblem& p, SoftmaxState& state, const OutputRow& row) {
  const float factor = p.activation.isSoftmax() ? finishRow(state, p.sink(row.head)) : 1.0f;
  return p.gate.isPresent() ? factor * p.gate.of(row) : factor;
}

TW_HOST_DEVICE PatternTraits traitsOf(const AttentionProblem& p) {
  const Sequence longest{0, {0, p.queries}, {0, p.keys}};
  return withPattern(p, longest, [](const auto& pattern) { return pattern.traits(); });
}

}  // namespace tilewise
