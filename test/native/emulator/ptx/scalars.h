// Opcodes that make one register of each lane's own registers, as rows of a table: what the manual says they compute,
// and the operands to try. Each row is executed by all lanes, under a guard, with a result that is also a source, and
// with constants. Reader: the tests of such opcodes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "line.h"

namespace tilewise::ptx {

struct Scalar {
  const char *opcode, *form;
  std::function<uint64_t(const Bits& operands)> expected;  // of one lane
  std::vector<Bits> values;                                // of each source: all combinations are tried
  bool isApproximate = false;                              // one unit in the last place is allowed, see below
};

void expectScalar(const Scalar& scalar);

// Numbers at the borders of integers of 16, 32 and 64 bits.
extern const Bits kEdges16, kEdges32, kEdges64;
const Bits& edgesOf(char kind);  // p too

// float32: zeros, denormals, borders, ties, infinities, quiet and signalling NaN, of both signs.
extern const Bits kFloats;

}  // namespace tilewise::ptx
