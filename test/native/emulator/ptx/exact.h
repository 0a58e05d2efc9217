// Integers of 128 bits, in which whatever an opcode computes of its operands is exact, and tables of such opcodes.
// Reader: tests of integers.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "scalars.h"

namespace tilewise::ptx {

__extension__ typedef __int128 Int;

constexpr uint32_t bitsIn(char kind) { return kind == 'p' ? 1 : kind == 'h' ? 16 : kind == 'w' ? 32 : 64; }
inline Int powerOfTwo(Int n) { return Int(1) << int(n); }

// The number that the lower bits stand for, as two's complement or without a sign.
inline Int numberOf(uint64_t bits, uint32_t count, bool isSigned) {
  const Int number = Int(bits) % powerOfTwo(count);
  return isSigned && number >= powerOfTwo(count - 1) ? number - powerOfTwo(count) : number;
}
// Rounded down, where C++ rounds to zero.
inline Int floorDivide(Int a, Int b) { return a / b - (a % b < 0 ? 1 : 0); }

// Operands are numbers of the type at the end of the opcode, those of cvt and of wider results too; but amounts of
// shifts are of 32 bits. The result's lower bits count.
struct ExactRow {
  const char *opcode, *form;
  Int (*of)(Int a, Int b, Int c);
};

inline Scalar exact(const ExactRow& row, std::vector<Bits> values = {}) {
  const std::string opcode = row.opcode, type = opcode.substr(opcode.find_last_of('.') + 1);
  const bool isSigned = type[0] == 's';
  const auto bits = uint32_t(std::stoi(type.substr(1)));
  const Line line = lineOf(row.opcode, row.form);
  if (values.empty()) {
    for (const char kind : line.sources) values.push_back(edgesOf(kind));
  }
  const char result = line.results[0];
  const std::string sources = line.sources;
  const auto of = row.of;
  const auto expected = [=](const Bits& operands) {
    Int numbers[3] = {};
    for (size_t i = 0; i < operands.size(); ++i) {
      numbers[i] = numberOf(operands[i], sources[i] == 'w' ? std::max(bits, 32u) : bits, isSigned);
    }
    return uint64_t(numberOf(uint64_t(of(numbers[0], numbers[1], numbers[2])), bitsIn(result), false));
  };
  return {row.opcode, row.form, expected, std::move(values)};
}

}  // namespace tilewise::ptx
