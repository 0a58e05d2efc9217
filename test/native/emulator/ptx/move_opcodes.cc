// mov: registers, halves, special registers, addresses. PTX ISA, "Data Movement: mov" and "Special Registers".
#include "../../check.h"
#include "families.h"
#include "scalars.h"

namespace tilewise::ptx {
namespace {

void expectCopies(const char* opcode, const char* form) {
  const char kind = form[0];
  expectScalar({opcode, form, [](const Bits& bits) { return bits[0]; }, {kind == 'w' ? kFloats : edgesOf(kind)}});
}

void checkHalves() {
  // The first is the lower half.
  expectScalar(
      {"mov.b32", "w = {hh}", [](const Bits& bits) { return bits[1] * 65536 + bits[0]; }, {kEdges16, kEdges16}});
  expectScalar({"mov.b64", "l = {ww}", [](const Bits& bits) { return bits[1] << 32 | bits[0]; }, {kFloats, kFloats}});
  Line wide = lineOf("mov.b64", "{ww} = l");
  wide.operands = {bitsOf(32, [](uint32_t i) { return uint64_t(kFloats[i]) << 32 | (kFloats[31 - i] ^ 0x1234abcd); })};
  const Outcome words = run(wide);
  expectBits(wide.text, words, 0, bitsOf(32, [](uint32_t i) { return kFloats[31 - i] ^ 0x1234abcd; }));
  expectBits(wide.text, words, 1, bitsOf(32, [](uint32_t i) { return kFloats[i]; }));
  Line split = lineOf("mov.b32", "{hh} = w");
  split.operands = {bitsOf(32, [](uint32_t i) { return kFloats[i] ^ 0x1234abcd; })};
  const Outcome outcome = run(split);
  expectBits(split.text, outcome, 0, bitsOf(32, [&](uint32_t i) { return split.operands[0][i] % 65536; }));
  expectBits(split.text, outcome, 1, bitsOf(32, [&](uint32_t i) { return split.operands[0][i] / 65536; }));
}

// Three blocks of 96 threads.
void checkSpecialRegisters() {
  constexpr uint32_t kThreads = 96, kAll = 3 * kThreads;
  Line line = lineOf("mov.u32", "w = s", {"%d0", "%tid.x"});
  const char* const names[] = {"%ntid.x", "%ctaid.x", "%nctaid.x"};
  for (int i = 0; i < 3; ++i)
    line.text += "\n" + lineOf("mov.u32", "w = s", {"%d" + std::to_string(i + 1), names[i]}).text;
  line.results = "wwww";
  line.sources = "w";
  line.threads = kThreads;
  line.operands = {Bits(kAll)};
  const Outcome outcome = run(line);
  expectBits("%tid.x", outcome, 0, bitsOf(kAll, [](uint32_t i) { return i % kThreads; }));
  expectBits("%ntid.x", outcome, 1, Bits(kAll, kThreads));
  expectBits("%ctaid.x", outcome, 2, bitsOf(kAll, [](uint32_t i) { return i / kThreads; }));
  expectBits("%nctaid.x", outcome, 3, Bits(kAll, 3));
}

// A register that nothing was written to, in the lanes whose guard does not hold, is no number, and differs from what
// any lane may have meant: neither zero nor the other lanes' value.
void checkPoison() {
  Line line;
  line.text = "@%a0 mov.b32 %d0, 0f3F800000;\n@%a0 mov.b64 %d1, 0;\nadd.f32 %d2, %d0, 0f00000000;";
  line.sources = "p";
  line.results = "wlw";
  line.operands = {bitsOf(32, [](uint32_t i) { return i % 2; })};
  const Outcome outcome = run(line);
  CHECK(outcome.error.empty(), "%s", outcome.error.c_str());
  for (uint32_t i = 0; i < 32; ++i) {
    const bool isWritten = i % 2 == 1;
    CHECK(outcome.results[2][i] == (isWritten ? 0x3f800000 : 0x7fffffff), "poison of lane %u: %llx", i,
          static_cast<unsigned long long>(outcome.results[2][i]));
    CHECK((outcome.results[1][i] == 0) == isWritten, "poison of 64 bits in lane %u", i);
  }
}

}  // namespace

void checkMoveOpcodes() {
  expectCopies("mov.u16", "h = h");
  for (const char* opcode : {"mov.b32", "mov.u32", "mov.f32"}) expectCopies(opcode, "w = w");
  for (const char* opcode : {"mov.b64", "mov.u64"}) expectCopies(opcode, "l = l");
  expectCopies("mov.pred", "p = p");
  checkHalves();
  checkSpecialRegisters();
  checkPoison();
}

}  // namespace tilewise::ptx
