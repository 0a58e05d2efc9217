// See run.h. What a call copies to the device and back.

#include "run.h"

namespace tilewise::cuda {

LocalLinearProblem stage(Staging& staging, const LocalLinearProblem& problem) {
  LocalLinearProblem p = problem;
  staging.input(p.query, p.batch, p.queries, p.queryHeads, p.headDim, p.dtype);
  staging.input(p.correction, p.batch, p.queries, p.queryHeads, p.headDim, p.dtype);
  staging.input(p.key, p.batch, p.keys, p.kvHeads, p.headDim, p.dtype);
  staging.input(p.value, p.batch, p.keys, p.kvHeads, p.valueDim, p.dtype);
  staging.output(p.out, p.batch, p.queries, p.queryHeads, p.valueDim, p.dtype);
  return p;
}

}  // namespace tilewise::cuda
