// See run.h. What a call copies to the device and back.

#include "run.h"

namespace tilewise::cuda {

DeltaProblem stage(Staging& staging, const DeltaProblem& problem) {
  DeltaProblem p = problem;
  staging.input(p.query, p.batch, p.tokens, p.queryHeads, p.headDim, p.dtype);
  staging.input(p.key, p.batch, p.tokens, p.keyHeads, p.headDim, p.dtype);
  staging.input(p.value, p.batch, p.tokens, p.valueHeads, p.valueDim, p.dtype);
  staging.output(p.out, p.batch, p.tokens, p.outHeads(), p.valueDim, p.dtype);
  for (TokenNumbers* const numbers : {&p.beta, &p.decay}) {
    staging.input(numbers->data,
                  {{p.batch, &numbers->batch}, {p.tokens, &numbers->token}, {p.valueHeads, &numbers->head}},
                  {sizeof(float), sizeof(float), false});
  }
  const int64_t rows = int64_t(p.sequences) * p.valueHeads * p.headDim * p.valueDim;
  staging.inputList(p.stateIn, rows);
  staging.outputList(p.state, rows);
  if (p.cuSeqlens) staging.inputList(p.cuSeqlens, p.sequences + 1);
  return p;
}

}  // namespace tilewise::cuda
