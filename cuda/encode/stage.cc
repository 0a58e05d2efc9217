// See run.h. What a call copies to the device: blocks of codes are there already.

#include "run.h"

namespace tilewise::cuda {

EncodeProblem stage(Staging& staging, const EncodeProblem& problem) {
  EncodeProblem p = problem;
  const auto input = [&](Operand& rows, int32_t dim) {
    staging.input(rows, p.slots.pages, p.slots.rowsOfPage(), p.heads, dim, p.type);
  };
  if (p.keyRunCount > 0) input(p.keys, p.to.keys.dim);
  if (p.valueRunCount > 0) input(p.values, p.to.values.dim);
  staging.inputList(p.slots.list, p.slotCount);
  staging.inputList(p.keyRuns, p.keyRunCount);
  staging.inputList(p.valueRuns, p.valueRunCount);
  staging.inputList(p.narrowed, p.narrowedCount);
  return p;
}

}  // namespace tilewise::cuda
