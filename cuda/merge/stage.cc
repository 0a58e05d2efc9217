// See run.h. What a call copies to the device and back.

#include "run.h"

namespace tilewise::cuda {

MergeProblem stage(Staging& staging, const MergeProblem& problem) {
  MergeProblem p = problem;
  const Staging::Form floats{sizeof(float), sizeof(float), true};
  for (MergePart& part : p.parts) {
    staging.input(part.out, p.batch, p.queries, p.heads, p.valueDim, p.dtype);
    staging.input(part.lse, {{p.batch, &part.lseBatch}, {p.heads, &part.lseHead}, {p.queries, &part.lseToken}}, floats);
  }
  staging.input(p.sinks, {{p.heads, &p.sinksHead}}, {sizeof(float), sizeof(float), false});
  staging.output(p.out, p.batch, p.queries, p.heads, p.valueDim, p.dtype);
  staging.output(p.lse, {{p.batch, &p.lseBatch}, {p.heads, &p.lseHead}, {p.queries, &p.lseToken}}, floats);
  return p;
}

}  // namespace tilewise::cuda
