// From text to statements, and from those to a kernel.
// Reader: source.cc; parser.cc, assembler.cc and joins.cc, each of which does a step.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernel.h"
#include "source.h"

namespace tilewise::ptx {

struct Operand {
  enum class Kind : uint8_t { number, reg, address, special, label };
  Kind kind = Kind::number;
  Width width = Width::b32;  // of the register, or of an address's
  int32_t reg = -1;          // an address without is a number
  uint64_t bits = 0;         // a number; an address's offset; which special register
  std::string_view text;
};

struct Statement {
  std::string_view opcode;
  std::string frame;  // how operands are grouped, each a '_': "{_,_},[_]"
  std::vector<Operand> operands;
  int32_t guard = -1;  // register
  bool isNegated = false, isInline = false;
  uint32_t line = 0;
  int32_t place = -1;
};

struct Body {
  Declaration declaration;
  std::vector<Width> registers;
  std::vector<Statement> statements;
  std::map<std::string_view, int32_t> labels;  // of the statement that follows
  std::vector<Place> places;
};

std::unique_ptr<Kernel> readKernel(const Source& source, const std::string& name, Cursor cursor);

// parser.cc
Body parse(const Source& source, Cursor cursor);
// assembler.cc: instructions, whose opcodes and operands must be known, and slots.
std::unique_ptr<Kernel> assemble(const Body& body);
// joins.cc: where the lanes of each branch meet again.
void findJoins(std::vector<Instruction>& code);

}  // namespace tilewise::ptx
