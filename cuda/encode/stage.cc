// See run.h. What a call copies to the device: blocks of codes are there already.

#include "run.h"

namespace tilewise::cuda {

EncodeProblem stage(Staging& staging, const EncodeProblem& problem) {
  EncodeProblem p = problem;
  if (p.keyRunCount > 0) staging.input(p.keys, p.pages, p.pageSize, p.heads, p.to.keys.dim, p.type);
  if (p.valueRunCount > 0) staging.input(p.values, p.pages, p.pageSize, p.heads, p.to.values.dim, p.type);
  staging.inputList(p.slots, p.slotCount);
  staging.inputList(p.keyRuns, p.keyRunCount);
  staging.inputList(p.valueRuns, p.valueRunCount);
  staging.inputList(p.narrowed, p.narrowedCount);
  return p;
}

}  // namespace tilewise::cuda
