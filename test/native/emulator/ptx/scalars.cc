// A table's row against the machine.
#include "scalars.h"

#include <cstdio>
#include <cstring>

#include "../../check.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kLanes = 32;

const char* moveOf(char kind) {
  return kind == 'p' ? "mov.pred" : kind == 'h' ? "mov.u16" : kind == 'w' ? "mov.b32" : "mov.b64";
}
uint64_t oldOf(char kind) {
  return kind == 'p' ? 1 : kind == 'h' ? 0xa5b6 : kind == 'w' ? 0xa5b6c7d8 : 0xa5b6c7d8e9fa0b1c;
}

// As PTX writes it: float32 has a form of its own.
std::string constantOf(const Scalar& scalar, char kind, uint64_t bits) {
  if (kind == 'p') return bits != 0 ? "-1" : "0";
  const std::string opcode = scalar.opcode;
  const bool isFloat = kind == 'w' && opcode.size() > 4 && opcode.substr(opcode.size() - 4) == ".f32";
  char text[24];
  std::snprintf(text, sizeof text, isFloat ? "0f%08llX" : "0x%llx", static_cast<unsigned long long>(bits));
  return text;
}

// All combinations, in whole blocks.
std::vector<Bits> combine(const std::vector<Bits>& values) {
  size_t all = 1;
  for (const Bits& some : values) all *= some.size();
  const size_t rows = (all + kLanes - 1) / kLanes * kLanes;
  std::vector<Bits> operands;
  size_t period = 1;
  for (const Bits& some : values) {
    operands.push_back(bitsOf(uint32_t(rows), [&](size_t row) { return some[row / period % some.size()]; }));
    period *= some.size();
  }
  return operands;
}

Bits rowOf(const std::vector<Bits>& operands, size_t row) {
  Bits bits;
  for (const Bits& operand : operands) bits.push_back(operand[row]);
  return bits;
}

// Exactly; an approximation may miss a normal number that is no power of two by its last place.
bool agrees(const Scalar& scalar, uint64_t got, uint64_t expected) {
  if (got == expected) return true;
  const uint64_t exponent = expected >> 23 & 0xff;
  const bool isFree = scalar.isApproximate && exponent != 0 && exponent != 0xff && (expected & 0x7fffff) != 0;
  return isFree && (got + 1 == expected || got == expected + 1);
}

void expectRow(const Scalar& scalar, const char* how, const Bits& operands, uint64_t got, uint64_t expected) {
  std::string text;
  for (const uint64_t operand : operands) {
    char number[24];
    std::snprintf(number, sizeof number, " %llx", static_cast<unsigned long long>(operand));
    text += number;
  }
  CHECK(agrees(scalar, got, expected), "%s %s, %s: of%s comes %llx, not %llx", scalar.opcode, scalar.form, how,
        text.c_str(), static_cast<unsigned long long>(got), static_cast<unsigned long long>(expected));
}

// d0 by all lanes, d1 under a guard, d2 and on in the register of a source each.
Line linesOf(const Scalar& scalar, const std::vector<Bits>& operands) {
  Line line = lineOf(scalar.opcode, scalar.form);
  const char kind = line.results[0];
  const std::string sources = line.sources, guard = "%a" + std::to_string(sources.size()),
                    old = "%a" + std::to_string(sources.size() + 1), move = moveOf(kind);
  std::vector<std::string> names{"%d1"};
  for (size_t i = 0; i < sources.size(); ++i) names.push_back("%a" + std::to_string(i));
  line.text += "\n" + move + " %d1, " + old + ";\n@" + guard + " " + lineOf(scalar.opcode, scalar.form, names).text;
  line.results += kind;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (sources[i] != kind) continue;
    const std::string result = "%d" + std::to_string(line.results.size()), source = names[i + 1];
    names[0] = names[i + 1] = result;
    line.text += "\n" + move + " " + result + ", " + source + ";\n@!" + guard + " " +
                 lineOf(scalar.opcode, scalar.form, names).text;
    names[i + 1] = source;
    line.results += kind;
  }
  line.sources += std::string("p") + kind;
  line.operands = operands;
  const auto rows = uint32_t(operands[0].size());
  line.operands.push_back(bitsOf(rows, [](uint32_t row) { return row % 3 == 0; }));
  line.operands.push_back(bitsOf(rows, [&](uint32_t) { return oldOf(kind); }));
  return line;
}

void expectConstants(const Scalar& scalar, const Bits& operands) {
  const std::string sources = lineOf(scalar.opcode, scalar.form).sources;
  std::vector<std::string> names{"%d0"};
  for (size_t i = 0; i < sources.size(); ++i) names.push_back(constantOf(scalar, sources[i], operands[i]));
  Line line = lineOf(scalar.opcode, scalar.form, names);
  line.sources.clear();
  const Outcome outcome = run(line);
  CHECK(outcome.error.empty(), "%s: %s", line.text.c_str(), outcome.error.c_str());
  expectRow(scalar, "constants", operands, outcome.results[0][kLanes - 1], scalar.expected(operands));
}

}  // namespace

void expectScalar(const Scalar& scalar) {
  const std::vector<Bits> operands = combine(scalar.values);
  const Line line = linesOf(scalar, operands);
  const Outcome outcome = run(line);
  CHECK(outcome.error.empty(), "%s: %s", line.text.c_str(), outcome.error.c_str());
  if (!outcome.error.empty()) return;
  const size_t sources = scalar.values.size();
  for (size_t row = 0; row < operands[0].size(); ++row) {
    const Bits bits = rowOf(operands, row);
    const uint64_t expected = scalar.expected(bits);
    const bool holds = line.operands[sources][row] != 0;
    expectRow(scalar, "all lanes", bits, outcome.results[0][row], expected);
    expectRow(scalar, "under a guard", bits, outcome.results[1][row], holds ? expected : oldOf(line.results[0]));
    size_t result = 2;
    for (size_t i = 0; i < sources; ++i) {
      if (line.sources[i] != line.results[0]) continue;
      expectRow(scalar, "into a source", bits, outcome.results[result++][row], holds ? bits[i] : expected);
    }
  }
  constexpr size_t kConstantRows = 7;  // of each opcode
  const size_t step = std::max<size_t>(1, operands[0].size() / kConstantRows);
  for (size_t row = 0; row < operands[0].size(); row += step) expectConstants(scalar, rowOf(operands, row));
}

const Bits kEdges16{0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x100, 0x1234, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff};
const Bits kEdges32{0,          1,          2,          3,          7,          31,         32,         0xff,
                    0x7fff,     0x8000,     0xffff,     0x10000,    0x12345678, 0x7ffffffe, 0x7fffffff, 0x80000000,
                    0x80000001, 0xdeadbeef, 0xffff8000, 0xfffffffd, 0xfffffffe, 0xffffffff};
const Bits kEdges64{0,
                    1,
                    2,
                    7,
                    64,
                    0x7fffffff,
                    0x80000000,
                    0xffffffff,
                    0x100000000,
                    0x123456789abcdef0,
                    0x7ffffffffffffffe,
                    0x7fffffffffffffff,
                    0x8000000000000000,
                    0x8000000000000001,
                    0xffffffff00000000,
                    0xffffffff80000000,
                    0xfffffffffffffff9,
                    0xfffffffffffffffe,
                    0xffffffffffffffff};

const Bits& edgesOf(char kind) {
  static const Bits predicates{0, 1};
  return kind == 'p' ? predicates : kind == 'h' ? kEdges16 : kind == 'w' ? kEdges32 : kEdges64;
}

const Bits kFloats{
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x80800000,  // zeros, denormals
    0x00800001, 0x01000000, 0x33800000, 0x34000000, 0x3eaaaaab, 0x3f000000, 0x3f7fffff, 0xbf7fffff,  // to below 1
    0x3f800000, 0xbf800000, 0x3f800001, 0xbf800001, 0x3f800003, 0x40000000, 0xc0400000, 0x40490fdb,  // to pi
    0x4b000001, 0x4b800000, 0xcb800001, 0x7e800000, 0x7f000000, 0x7f7fffff, 0xff7fffff,  // to the largest
    0x7f800000, 0xff800000, 0x7f800001, 0xffa39948, 0x7fc00000, 0xffc00001, 0x7fffffff, 0xffffffff,  // no numbers
};

}  // namespace tilewise::ptx
