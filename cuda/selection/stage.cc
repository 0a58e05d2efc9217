// See run.h. What a call copies to the device and back.

#include "run.h"

namespace tilewise::cuda {

SelectionProblem stage(Staging& staging, const SelectionProblem& problem) {
  SelectionProblem p = problem;
  staging.input(p.query, p.batch, p.queries, p.queryHeads, p.headDim, p.dtype);
  staging.inputStored(p.store, {p.batch, p.batch, p.keys, p.keyLengths, nullptr}, {{&p.key, p.headDim}}, p.kvHeads,
                      {p.keyType, p.dtype});
  p.keyType = p.dtype;
  p.store.forEachList(p.batch, p.keys, [&](auto& list, int64_t length) { staging.inputList(list, length); });
  staging.inputList(p.keyLengths, p.batch);
  for (int32_t s = 0; s < p.stages; ++s) {
    SelectionStage& stage = p.stage[s];
    const int64_t lists = int64_t(p.batch) * p.lists() * p.blocks(s);
    if (s >= p.firstStage) {
      staging.outputList(stage.starts, lists * stage.keep);
      staging.outputList(stage.counts, lists);
    } else if (s == p.firstStage - 1) {
      staging.inputList(stage.starts, lists * stage.keep);
      staging.inputList(stage.counts, lists);
    }
  }
  return p;
}

}  // namespace tilewise::cuda
