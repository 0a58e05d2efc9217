// A line of PTX in, bits out: builds a kernel around it, gives each thread its operands and reads each thread's
// results. Registers are %a0, %a1, ... for sources and %d0, %d1, ... for results, in the order of the line's text.
// Reader: whoever writes the test of an opcode.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "../../../../emulator/emulator.h"

namespace tilewise::ptx {

using Bits = std::vector<uint64_t>;  // of one register, a thread each

// Kinds of registers are letters: p, h, w, l as in emulator/ptx/opcodes.h. A source may also be s, a shared address, g,
// one of global memory, or m, that of a tensor map: the test gives bytes from the start of `shared`, `global`, the map.
struct Line {
  std::string text;
  std::string sources, results;  // kinds
  std::vector<Bits> operands;  // of each source
  uint32_t threads = 32;  // of a block; there are as many blocks as operands need
  std::vector<uint8_t> shared, global;
  std::optional<emulator::TensorShape> tensor;  // of global memory, from its start
  std::string words = "lazy";  // options of the machine
};

struct Outcome {
  std::string error;
  std::vector<Bits> results;
  std::vector<uint8_t> shared, global;  // afterwards
};

// The line of an opcode with a form of its operands, as a row of the machine's tables has it, which counts as tested
// from now on. Addresses are s or g, with coordinates m. `names`: registers and constants in the place of those above,
// "%a0+16" in brackets.
Line lineOf(const std::string& opcode, const std::string& form, const std::vector<std::string>& names = {});

// Kernels have 64 bytes of parameters of this name, of which byte i is parameterByte(i).
constexpr const char* kParameters = "bytes";
constexpr uint32_t kParameterBytes = 64;
constexpr uint8_t parameterByte(uint32_t i) { return uint8_t(0x90 + 0x25 * i); }

Outcome run(const Line& line);

// Of thread i: f(i).
template <class F>
Bits bitsOf(uint32_t threads, F f) {
  Bits bits(threads);
  for (uint32_t i = 0; i < threads; ++i) bits[i] = uint64_t(f(i));
  return bits;
}

// All of one register, as CHECKs; `what` says which.
void expectBits(const std::string& what, const Outcome& outcome, size_t result, const Bits& expected);
void expectBytes(const std::string& what, const std::vector<uint8_t>& got, const std::vector<uint8_t>& expected);

// Opcodes with their forms that a test has asked for: "add.s32 w = w, w".
bool isTested(const std::string& opcode, const std::string& form);
bool isTested(const std::string& opcode);

}  // namespace tilewise::ptx
