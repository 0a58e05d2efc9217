// Score rules: what is added to the score of a query and a key, and which keys they hide beyond the pattern.
// Reader: someone who adds a rule. core/score/rules.h lists them; the loops apply the list and know none by name.
// Scores and addends are natural logarithms, as the tensors that people give.
//
// A rule is a POD, the same bytes on host and device. It has
//   isPresent()            whether the problem uses it
//   Row, row(query)        what it needs to know of a query, worked out once for all of the query's keys
//   addend(...)            what it adds, -inf to hide the key; a template on the number type (core/base/number.h)
//   operand(shape, visit)  calls visit(array, bytes per element, axes): the memory it reads, for who checks or copies
//   kHasType               whether elements may be of any type, which `dtype` says
// and is of one of two kinds:
//   kReads      addend(value) says what a value in memory means. withReader(visit) calls visit(read), and
//               read(at(row, key)) is the value of a query and a key; kCoversAll: even of a pair that is hidden, and
//               then hides(element) and isIdle(element) say for which elements the addend is -inf, and for which it is
//               0
//   the others  addend(row, distance) computes; distance is the query's position less the key's token.
#pragma once

#include "../base/box.h"
#include "../base/number.h"
#include "../base/operand.h"
#include "../base/placed.h"

namespace tilewise {

constexpr float kHidden = -INFINITY;

// A query as rules see it.
struct ScoreQuery {
  int64_t batch;
  int64_t keyBatch;  // batch entry of its keys: of packed queries over pages, their sequence
  int32_t head;  // of the output
  int32_t kvHead;  // that it reads
  int64_t token;  // within the batch entry
  int64_t firstKey;  // token of the sequence's first key within the batch entry
  Token place[kMaxRank];  // grids: in the dilation group, the last axis last; else unused
};

struct ScoreKey {
  Token token;  // within the sequence
  Token place[kMaxRank];
};

// Sizes of a problem, for operands.
struct ScoreShape {
  int64_t batch, heads, kvHeads, queries, keys;
  int64_t sequences;  // batch, unless queries are packed
};

// Adds what one more rule adds. What is hidden stays hidden, whatever the rule says: it may say NaN.
template <class N>
TW_HOST_DEVICE N addUnlessHidden(N sum, N addend) {
  return whereEqual(sum, N(kHidden), sum, sum + addend);
}

// What a rule adds for one query and one key, as a float.
template <class Rule>
TW_HOST_DEVICE float addendOf(const Rule& rule, const typename Rule::Row& row, const ScoreKey& key, Token distance) {
  if constexpr (Rule::kReads) {
    float value = 0;
    rule.withReader([&](const auto& read) { value = read(rule.at(row, key)); });
    return rule.addend(value);
  } else {
    return rule.addend(row, float(distance));
  }
}

}  // namespace tilewise
