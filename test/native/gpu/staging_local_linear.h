// Staging of local linear attention: a correction that is given, or none. Reader: see staging_checks.cc.
#pragma once

#include <string>

#include "staging_case.h"

namespace tilewise {

inline void checkLocalLinear(Backend& backend, uint32_t seed, bool toDevice) {
  Disturber disturber(machine, seed, toDevice);
  LocalLinearProblem p;
  p.batch = 1 + disturber.pick(2);
  p.kvHeads = 1 + disturber.pick(2);
  p.queryHeads = p.kvHeads * (1 + disturber.pick(2));
  p.queries = 1 + disturber.pick(20);
  p.keys = 1 + disturber.pick(30);
  p.headDim = 1 + disturber.pick(20);
  p.valueDim = 1 + disturber.pick(20);
  p.lambda = 1;
  p.iterations = 3;
  nameOfCase = "local linear, seed " + std::to_string(seed) + (toDevice ? " mixed" : "");
  Numbers numbers(disturber);
  const auto rows = [&](Operand& o, int64_t tokens, int64_t heads, int64_t dim) {
    o = {numbers(p.batch * tokens * heads * dim), tokens * heads * dim, heads * dim, dim, 1};
    disturber(rowsOf(o, p.batch, tokens, heads, dim, p.dtype), &o != &p.out);
  };
  rows(p.query, p.queries, p.queryHeads, p.headDim);
  if (disturber.pick(2)) rows(p.correction, p.queries, p.queryHeads, p.headDim);
  rows(p.key, p.keys, p.kvHeads, p.headDim);
  rows(p.value, p.keys, p.kvHeads, p.valueDim);
  rows(p.out, p.queries, p.queryHeads, p.valueDim);
  compare(backend, p, disturber);
}

}  // namespace tilewise
