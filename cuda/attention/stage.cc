// See run.h. What a call copies to the device and back.

#include "run.h"

#include <algorithm>

#include "../../core/plan/range_runs.h"
#include "tuning.h"

namespace tilewise::cuda {

StagedAttention stage(Staging& staging, const AttentionProblem& problem) {
  StagedAttention staged{problem, problem};
  AttentionProblem& p = staged.problem;
  RangeRuns runs;
  runs.plan(p, kRangeQueries);
  // Rows of no sequence are neither read nor written, and keys behind the longest are not read.
  int64_t queries = p.queries, keys = p.keys;
  if (p.cuSeqlensQ) queries = p.cuSeqlensQ[p.sequences];
  if (p.cuSeqlensK) keys = p.cuSeqlensK[p.sequences];
  if (p.keyLengths) {
    keys = 0;
    for (int32_t s = 0; s < p.sequences; ++s) keys = std::max<int64_t>(keys, p.keyLengths[s]);
  }
  const int64_t heads = p.outputHeads();

  staging.input(p.query, p.batch, queries, p.queryHeads, p.headDim, p.dtype);
  const Staging::Types types{p.keyType, p.dtype};
  staging.inputStored(p.store, {p.batch, p.sequences, Token(keys), p.keyLengths, p.keyStarts},
                      {{&p.key, p.headDim}, {&p.value, p.valueDim}}, p.kvHeads, types);
  staging.inputCodes(p.store, p.sequences);
  p.forEachList(Token(keys), [&](auto& list, int64_t length) { staging.inputList(list, length); });
  staging.input(p.extraKeys, p.batch, p.extraTokens, p.kvHeads, p.headDim, types);
  staging.input(p.extraValues, p.batch, p.extraTokens, p.kvHeads, p.valueDim, types);
  p.keyType = p.dtype;
  const ScoreShape shape{p.batch, heads, p.kvHeads, queries, keys, p.sequences};
  const auto stageRule = [&](auto& rule) {
    rule.operand(shape, [&](auto& array, int64_t elementBytes, const auto& axes) {
      staging.input(array, {std::begin(axes), std::end(axes)}, {elementBytes, Staging::kRowAlignment, false});
    });
  };
  stageRule(p.scoreFactor);
  p.rules.forEach(stageRule);
  staging.input(p.sinks, {{heads, &p.sinksHead}}, {sizeof(float), sizeof(float), false});
  p.gate.operand(p.batch, queries, heads, [&](auto& array, int64_t elementBytes, const auto& axes) {
    staging.input(array, {std::begin(axes), std::end(axes)}, {elementBytes, elementBytes, false});
  });
  staging.inputList(p.cuSeqlensQ, p.sequences + 1);
  staging.inputList(p.cuSeqlensK, p.sequences + 1);
  staging.inputList(p.keyLengths, p.sequences);
  staging.inputList(p.keyStarts, p.sequences);

  staging.output(p.out, p.batch, queries, heads, p.valueDim, p.dtype);
  staging.output(p.lse, {{p.batch, &p.lseBatch}, {heads, &p.lseHead}, {queries, &p.lseToken}},
                 {sizeof(float), sizeof(float), true});
  return staged;
}

}  // namespace tilewise::cuda
