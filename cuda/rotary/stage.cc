// See run.h. What a call copies to the device and back.

#include <vector>

#include "run.h"

namespace tilewise::cuda {

StagedRotary stage(Staging& staging, const RotaryProblem& problem) {
  StagedRotary staged{problem, {}};
  RotaryProblem& p = staged.problem;
  staging.input(p.in, p.batch, p.tokens, p.heads, p.headDim, p.dtype);
  staging.output(p.out, p.batch, p.tokens, p.heads, p.headDim, p.dtype);

  const int32_t entries = p.positionsBatch == 0 ? 1 : p.batch, heads = p.headsShareRotations() ? 1 : p.heads;
  Rotations& rotations = staged.rotations;
  const int64_t row = 2 * int64_t(p.pairs);
  if (heads > 1) rotations.head = row;
  rotations.token = heads * row;
  if (entries > 1) rotations.batch = p.tokens * rotations.token;
  std::vector<float> made(size_t(entries * p.tokens * rotations.token));
  float* at = made.data();
  for (int32_t b = 0; b < entries; ++b)
    for (Token t = 0; t < p.tokens; ++t)
      for (int32_t head = 0; head < heads; ++head, at += row) writeRotations(p, b, t, head, at);
  rotations.data = made.data();
  staging.inputList(rotations.data, int64_t(made.size()));
  return staged;
}

}  // namespace tilewise::cuda
