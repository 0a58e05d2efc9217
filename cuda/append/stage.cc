// See run.h. What a call copies to the device: pages are there already.

#include "run.h"

namespace tilewise::cuda {

AppendProblem stage(Staging& staging, const AppendProblem& problem) {
  AppendProblem p = problem;
  for (AppendedRows* rows : {&p.keys, &p.values}) {
    if (rows->dim > 0) staging.input(rows->from, p.batch, p.tokens, p.heads, rows->dim, p.from);
  }
  staging.inputList(p.slots.list, p.rows());
  return p;
}

}  // namespace tilewise::cuda
