// Logic, shifts, fields and choices, bit by bit. PTX ISA, "Logic and Shift Instructions", "Integer Arithmetic
// Instructions: bfi, popc", "Data Movement: prmt", "Comparison and Selection Instructions: selp".
#include <algorithm>

#include "exact.h"
#include "families.h"

namespace tilewise::ptx {
namespace {

bool bitOf(uint64_t bits, uint32_t i) { return i < 64 && (bits >> i) % 2 == 1; }

// A truth table, for the bits of a and b: 00, 01, 10, 11. Of one source, for its bit twice.
void expectLogic(const char* opcode, const char* form, const char (&truth)[5]) {
  const Line line = lineOf(opcode, form);
  const uint32_t count = bitsIn(line.results[0]);
  const auto expected = [&](const Bits& operands) {
    uint64_t result = 0;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t at = bitOf(operands.front(), i) * 2 + bitOf(operands.back(), i);
      result += uint64_t(truth[at] == '1') << i;
    }
    return result;
  };
  expectScalar({opcode, form, expected, std::vector<Bits>(line.sources.size(), edgesOf(line.sources[0]))});
}

// By an amount without a sign, which is clamped at the width: what is shifted in is zero, or the sign.
const Bits kAmounts{0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 0x80000000, 0xffffffe0, 0xffffffff};
Int amountOf(Int n) { return std::min<Int>(numberOf(uint64_t(n), 32, false), 64); }
Int shiftedLeft(Int a, Int n, Int) { return amountOf(n) == 64 ? 0 : a * powerOfTwo(amountOf(n)); }
Int shiftedRight(Int a, Int n, Int) { return floorDivide(a, powerOfTwo(amountOf(n))); }

void checkShifts() {
  for (const ExactRow& row : std::vector<ExactRow>{
           {"shl.b16", "h = h, w", shiftedLeft},
           {"shl.b32", "w = w, w", shiftedLeft},
           {"shl.b64", "l = l, w", shiftedLeft},
           {"shr.s32", "w = w, w", shiftedRight},
           {"shr.u32", "w = w, w", shiftedRight},
           {"shr.s64", "l = l, w", shiftedRight},
           {"shr.u64", "l = l, w", shiftedRight},
       }) {
    expectScalar(exact(row, {edgesOf(row.form[0]), kAmounts}));
  }
}

// The manual's own words, as a loop: bits of a from its lowest on, into b from a position on, past the top none.
void expectField(const char* opcode, const char* form) {
  const char kind = form[0];
  const uint32_t count = bitsIn(kind);
  const auto expected = [=](const Bits& operands) {
    const uint64_t position = operands[2] % 256, length = operands[3] % 256;
    uint64_t result = operands[1];
    for (uint32_t i = 0; i < length && position + i < count; ++i) {
      const uint64_t bit = uint64_t(1) << (position + i);
      result = bitOf(operands[0], i) ? result | bit : result & ~bit;
    }
    return result;
  };
  const Bits positions{0, 1, 5, 16, 31, 32, 40, 63, 64, 255, 256, 257, 0xffffff04},
      lengths{0, 1, 7, 16, 31, 32, 33, 63, 64, 200, 255, 256, 0x80000003};
  const Bits fields{0, 0x5a5a5a5a5a5a5a5a % (kind == 'w' ? uint64_t(1) << 32 : ~uint64_t(0)), edgesOf(kind).back()};
  expectScalar({opcode, form, expected, {fields, fields, positions, lengths}});
}

// The manual's table of the default mode: b3 is byte 7, a0 byte 0; a choice's highest bit copies the byte's own.
void checkPermutation() {
  const auto expected = [](const Bits& operands) {
    const auto byteOf = [&](uint64_t n) {
      return (n < 4 ? operands[0] >> (8 * n) : operands[1] >> (8 * (n - 4))) % 256;
    };
    uint64_t result = 0, weight = 1;
    for (uint64_t choices = operands[2] % 65536, at = 0; at < 4; ++at, choices /= 16, weight *= 256) {
      const uint64_t choice = choices % 16, byte = byteOf(choice % 8);
      result += weight * (choice >= 8 ? (byte >= 128 ? 255 : 0) : byte);
    }
    return result;
  };
  const Bits words{0, 0x80402010, 0x7f81c3e5, 0x12345678, 0xffffffff};
  const Bits choices{0x3210, 0x7654, 4180, 0x5410, 0x0123, 0xfedc, 0xba98, 0x8f70, 0x0000, 0x7777, 0xabcd3210};
  expectScalar({"prmt.b32", "w = w, w, w", expected, {words, words, choices}});
}

void expectChoice(const char* opcode, const char* form) {
  const Bits& edges = edgesOf(form[0]);
  expectScalar(
      {opcode, form, [](const Bits& bits) { return bits[2] == 1 ? bits[0] : bits[1]; }, {edges, edges, edgesOf('p')}});
}

}  // namespace

void checkBitOpcodes() {
  expectLogic("and.b16", "h = h, h", "0001");
  expectLogic("and.b32", "w = w, w", "0001");
  expectLogic("and.b64", "l = l, l", "0001");
  expectLogic("and.pred", "p = p, p", "0001");
  expectLogic("or.b16", "h = h, h", "0111");
  expectLogic("or.b32", "w = w, w", "0111");
  expectLogic("or.b64", "l = l, l", "0111");
  expectLogic("or.pred", "p = p, p", "0111");
  expectLogic("xor.b32", "w = w, w", "0110");
  expectLogic("xor.pred", "p = p, p", "0110");
  expectLogic("not.b32", "w = w", "1000");
  expectLogic("not.b64", "l = l", "1000");
  expectLogic("not.pred", "p = p", "1000");
  checkShifts();
  expectField("bfi.b32", "w = w, w, w, w");
  expectField("bfi.b64", "l = l, l, w, w");
  checkPermutation();
  const auto ones = [](const Bits& bits) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < 32; ++i) count += bitOf(bits[0], i);
    return count;
  };
  expectScalar({"popc.b32", "w = w", ones, {kEdges32}});
  for (const char* type : {"b16", "u16"}) expectChoice((std::string("selp.") + type).c_str(), "h = h, h, p");
  for (const char* type : {"b32", "u32", "f32"}) expectChoice((std::string("selp.") + type).c_str(), "w = w, w, p");
  expectChoice("selp.b64", "l = l, l, p");
}

}  // namespace tilewise::ptx
