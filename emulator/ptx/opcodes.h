// Every opcode that is known, with all its modifiers, a row for each form of its operands. What has no row is refused.
//
//     {"ld.shared.v4.b32", "{wwww} = [w]", load<...>}
//
// p, h, w, l: a predicate, a register of 16, 32 or 64 bits; before '=' results, after it sources, which may be
// constants except in brackets. [w], [l]: a shared address, or one of 64 bits, whose offset becomes an immediate, and
// [l, {ww}] one with coordinates; i: a constant that becomes an immediate; a number: that constant. s: a special
// register. L: a label. _: the sink. w*32: so many of a kind. Reader: whoever adds an opcode. Each file of a family
// ends in its rows; forms.cc has the families.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel.h"

namespace tilewise::ptx {

using Opcodes = std::vector<Opcode>;

Opcodes integerOpcodes();
Opcodes bitOpcodes();
Opcodes floatOpcodes();
Opcodes comparisonOpcodes();
Opcodes conversionOpcodes();
Opcodes moveOpcodes();
Opcodes memoryOpcodes();
Opcodes asyncCopyOpcodes();
Opcodes mbarrierOpcodes();
Opcodes bulkCopyOpcodes();
Opcodes warpOpcodes();
Opcodes matrixOpcodes();
Opcodes warpgroupOpcodes();
Opcodes controlOpcodes();

// What an operand must be.
struct Accepted {
  char type;  // as above; '#' for a number
  bool isResult, isAddress;
  uint64_t number;
};

struct Form {
  const Opcode* opcode;
  std::string frame;  // of operands, as Statement::frame has it
  std::vector<Accepted> accepted;
};

// Empty where the opcode is not known.
const std::vector<Form>& formsOf(std::string_view opcode);

}  // namespace tilewise::ptx
