// See run.h. What a call copies to the device and back.

#include "run.h"

namespace tilewise::cuda {

StatsProblem stage(Staging& staging, const StatsProblem& problem) {
  StatsProblem p = problem;
  Token keys = p.keys;
  if (p.keyLengths) {
    keys = 0;
    for (int32_t b = 0; b < p.batch; ++b) keys = larger(keys, p.keyLengths[b]);
  }
  staging.input(p.query, p.batch, p.queries, p.queryHeads, p.headDim, p.dtype);
  staging.inputStored(p.store, {p.batch, p.batch, keys, p.keyLengths, nullptr}, {{&p.key, p.headDim}}, p.kvHeads,
                      {p.keyType, p.dtype});
  p.store.forEachList(p.batch, keys, [&](auto& list, int64_t length) { staging.inputList(list, length); });
  p.keyType = p.dtype;
  if (p.keyLengths) staging.inputList(p.keyLengths, p.batch);
  const int64_t heads = int64_t(p.batch) * p.queryHeads, rows = heads * p.queries;
  staging.inputList(p.givenLse, rows);

  staging.outputList(p.lse, rows);
  staging.outputList(p.topIndices, rows * p.topK);
  staging.outputList(p.topProbs, rows * p.topK);
  staging.outputList(p.keySum, int64_t(p.batch) * p.keys);
  staging.outputList(p.keySumOverQueries, heads * p.keys);
  staging.outputList(p.keyMaxOverHeads, int64_t(p.batch) * p.keys);
  staging.outputList(p.blockSum, heads * p.queryBlocks() * p.keyBlocks());
  staging.outputList(p.diagSum, heads * p.keys);
  staging.outputList(p.probs, rows * p.keys);
  staging.outputList(p.scores, rows * p.keys);
  return p;
}

}  // namespace tilewise::cuda
