// See run.h. What a call copies to the device and back.

#include "run.h"

namespace tilewise::cuda {

CumulativeProblem stage(Staging& staging, const CumulativeProblem& problem) {
  CumulativeProblem p = problem;
  const Staging::Form floats{sizeof(float), sizeof(float), false};
  staging.input(p.scores, {{p.batch, &p.scoreBatch}, {p.heads, &p.scoreHead}, {p.tokens, &p.scoreToken}}, floats);
  staging.input(p.value, p.batch, p.tokens, p.heads, p.valueDim, p.dtype);
  staging.output(p.out, p.batch, p.tokens, p.heads, p.valueDim, p.dtype);
  staging.output(p.lse, {{p.batch, &p.lseBatch}, {p.heads, &p.lseHead}, {p.tokens, &p.lseToken}}, floats);
  const int64_t tasks = int64_t(p.batch) * p.heads;
  staging.inputList(p.before.max, tasks);
  staging.inputList(p.before.sum, tasks);
  staging.inputList(p.before.weighted, tasks * p.valueDim);
  staging.outputList(p.after.max, tasks);
  staging.outputList(p.after.sum, tasks);
  staging.outputList(p.after.weighted, tasks * p.valueDim);
  return p;
}

}  // namespace tilewise::cuda
