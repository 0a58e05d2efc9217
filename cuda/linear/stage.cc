// See run.h. What a call copies to the device and back.

#include "run.h"

namespace tilewise::cuda {

StagedLinear stage(Staging& staging, const LinearProblem& problem) {
  StagedLinear staged{problem, problem.cuSeqlens};
  LinearProblem& p = staged.problem;
  staging.input(p.query, p.batch, p.queries, p.queryHeads, p.headDim, p.dtype);
  staging.input(p.key, p.batch, p.keys, p.kvHeads, p.headDim, p.dtype);
  staging.input(p.value, p.batch, p.keys, p.kvHeads, p.valueDim, p.dtype);
  staging.output(p.out, p.batch, p.queries, p.queryHeads, p.valueDim, p.dtype);
  staging.input(p.decay, {{p.batch, &p.decayBatch}, {p.keys, &p.decayToken}, {p.kvHeads, &p.decayHead}},
                {sizeof(float), sizeof(float), false});
  const int64_t rows = int64_t(p.sequences) * p.kvHeads * p.features();
  staging.inputList(p.stateIn, rows * p.valueDim);
  staging.inputList(p.normalizerIn, rows);
  staging.outputList(p.state, rows * p.valueDim);
  staging.outputList(p.normalizer, rows);
  if (staged.cuSeqlens) staging.inputList(staged.cuSeqlens, p.sequences + 1);
  return staged;
}

}  // namespace tilewise::cuda
