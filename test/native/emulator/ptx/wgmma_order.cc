// wgmma in flight: when shared memory is read, which registers nothing may touch until which wait, and what warps of a
// warpgroup must do alike. PTX ISA, "wgmma.fence", "wgmma.wait_group" and "wgmma.mma_async".
// Reader: whoever changes when products take effect.
#include "../../check.h"
#include "../expect.h"
#include "families.h"
#include "formats.h"
#include "wgmma_line.h"

namespace tilewise::ptx {
namespace {

// What is written to b while the product is in flight is seen where it runs late, and is a race.
void checkWhenRead() {
  const Wgmma wgmma;
  Line line = wgmma.line();
  line.sources += "s";
  line.operands.push_back(bitsOf(kWarpgroup, [](uint32_t t) { return kOperandB + t * 16; }));
  const std::string zero = "st.shared.v4.b32 [%a4], {0, 0, 0, 0};\n";
  line.text = startSums(wgmma.line()) + kPrepare + fence() + line.text + "\n" + commit() + "bar.sync 0;\n" + zero +
              "bar.sync 0;\n" + waitFor(0);
  line.words = "eager";
  expectSums("b is read at once", run(line), wgmma, 1, 1);
  line.words = "lazy";
  expectSums("b is read late", run(line), wgmma, 1, 0);
  line.words = "races";
  const std::string error = run(line).error;
  CHECK(emulator::contains(error, "race, write after read") && emulator::contains(error, "wgmma of warpgroup 0"), "%s",
        error.c_str());
  line.text = startSums(wgmma.line()) + kPrepare + fence() + wgmma.line().text + "\n" + commit() + waitFor(0) +
              "bar.sync 0;\n" + zero;
  expectSums("b is free after the wait", run(line), wgmma, 1, 1);
}

// Groups of one product each, on two accumulators.
Line twoGroups(const std::string& after) {
  const Wgmma wgmma;
  const Line one = wgmma.line();
  Line line = one;
  std::string second = one.text;
  for (uint32_t r = 32; r-- > 0;) {
    const std::string before = "%d" + std::to_string(r), name = "%d" + std::to_string(r + 32);
    second.replace(second.find(before + (r == 31 ? "}" : ",")), before.size(), name);
  }
  line.results += one.results;
  line.text = startSums(line) + kPrepare + fence() + one.text + "\n" + commit() + second + "\n" + commit() + after;
  return line;
}

void checkGroups() {
  const auto errorAfter = [](const std::string& text) { return run(twoGroups(text)).error; };
  const std::string use = "add.f32 %d0, %d0, 0f00000000;\n", useOther = "add.f32 %d32, %d32, 0f00000000;\n";
  const auto expect = [](const std::string& error, const char* part) {
    CHECK(*part == '\0' ? error.empty() : emulator::contains(error, part), "no '%s' in: %s", part, error.c_str());
  };
  const char* const isBusy = "touches a register of the accumulator of wgmma.mma_async";
  expect(errorAfter(waitFor(1) + use + waitFor(0) + useOther), "");
  expect(errorAfter(waitFor(1) + useOther), isBusy);
  expect(errorAfter(waitFor(2) + use), isBusy);
  expect(errorAfter(waitFor(7)), isBusy);
  const Outcome outcome = run(twoGroups(waitFor(1) + waitFor(0)));
  expectSums("two groups, the first", outcome, Wgmma(), 1, 1);
  expectBits("two groups, the second", outcome, 33,
             bitsOf(kWarpgroup, [](uint32_t t) { return encode(startOf(t, 33) + productOf(t, 1)); }));
}

// Statements between the issue of a product and its wait.
std::string errorDuring(const Wgmma& wgmma, const std::string& statements) {
  Line line = wgmma.line();
  line.text = startSums(line) + kPrepare + fence() + line.text + "\n" + statements + commit() + waitFor(0);
  return run(line).error;
}

void checkBusyRegisters() {
  Wgmma fromRegisters;
  fromRegisters.isAInRegisters = true;
  struct Case {
    const char *statements, *part;
  };
  const char *const sums = "touches a register of the accumulator of wgmma.mma_async", *const a = "of operand a of";
  for (const Case& tested :
       {Case{"mov.b32 %a6, %d31;\n", sums}, Case{"mov.b32 %d0, 0;\n", sums}, Case{"mov.b32 %a1, %a0;\n", a},
        Case{"mov.b32 %a3, 7;\n", a}, Case{"st.shared.b32 [%word0], %d5;\n", sums}, Case{"bar.sync 0;\n", ""},
        Case{"@!%a5 mov.b32 %d0, 0;\n", ""}, Case{"mov.b32 %a6, %a6;\n", ""}}) {
    const std::string error = errorDuring(fromRegisters, tested.statements);
    CHECK(*tested.part == '\0' ? error.empty() : emulator::contains(error, tested.part), "%s: %s", tested.statements,
          error.c_str());
  }
  // Another shape, and the same registers in another order.
  Wgmma narrow, wide;
  wide.n = 80;
  std::string exchanged = narrow.line().text;
  exchanged.replace(exchanged.find("%d0, %d1,"), 9, "%d1, %d0,");
  for (const std::string& error : {errorDuring(wide, narrow.line().text), errorDuring(narrow, exchanged)}) {
    CHECK(emulator::contains(error, sums), "%s", error.c_str());
  }
  // Several products may read one a.
  Line line = fromRegisters.line();
  line.text += "\n" + line.text;
  expectSums("one a for two products", run(whole(line)), fromRegisters, 1, 2);
}

void expectFault(const char* name, Line line, const std::string& part) {
  const std::string error = run(line).error;
  CHECK(emulator::contains(error, part), "%s: no '%s' in: %s", name, part.c_str(), error.c_str());
}

void checkOrder() {
  const Wgmma wgmma;
  const Line alone = wgmma.line();
  Line line = alone;
  line.text = startSums(line) + kPrepare + alone.text + "\n" + commit() + waitFor(0);
  expectFault("no wgmma.fence", line, "no wgmma.fence since its registers were last free");
  line.text = startSums(line) + kPrepare + fence() + alone.text + "\n" + commit() + waitFor(0) + alone.text;
  expectFault("no wgmma.fence after a wait", line, "no wgmma.fence since its registers were last free");
  line.text = startSums(line) + kPrepare + fence() + alone.text + "\n" + waitFor(0);
  expectFault("no commit_group", line, "touches a register of the accumulator");
  line.text = startSums(line) + fence() + alone.text + "\n" + commit() + waitFor(0);
  line.words = "races";
  expectFault("no proxy fence", line, "missing proxy fence, read after write");
}

// Not all lanes, not all warps, or not the same.
void checkWarpgroups() {
  Line line = whole(Wgmma().line());
  Line disagree = line;
  disagree.operands[1][77] += 8;
  expectFault("a lane's descriptor", disagree, "lanes of one warp disagree on a descriptor");
  for (uint32_t t = 64; t < 96; ++t) disagree.operands[1][t] = disagree.operands[1][77];
  expectFault("a warp's descriptor", disagree, "warps of the warpgroup disagree");
  disagree = line;
  disagree.operands[2][5] = 0;
  expectFault("a lane's predicate", disagree, "lanes of one warp disagree on whether the accumulator is kept");
  Line fewer = line;
  fewer.threads = 96;
  fewer.shared.resize(96 * 4);
  for (Bits& bits : fewer.operands) bits.resize(96);
  expectFault("three warps", fewer, "its warpgroup has fewer than four warps");
  line.sources += "p";
  const auto without = [&](uint32_t first, uint32_t end) {
    Line missing = line;
    missing.operands.push_back(bitsOf(kWarpgroup, [=](uint32_t t) { return t >= first && t < end; }));
    missing.text = startSums(Wgmma().line()) + kPrepare + "@%a4 bra OVER;\n" + fence() + Wgmma().line().text + "\n" +
                   commit() + waitFor(0) + "OVER:";
    return missing;
  };
  expectFault("a lane that stays away", without(7, 8), "some lanes of the warp are missing, there are ffffff7f");
  expectFault("a warp that stays away", without(32, 64), "deadlock");
}

void checkOperands() {
  const auto faultOf = [](const char* name, uint64_t a, const std::string& part) {
    Line line = whole(Wgmma().line());
    line.operands[0] = Bits(kWarpgroup, a);
    expectFault(name, line, part);
  };
  const uint64_t right = Wgmma().a().descriptor(), swizzle128 = uint64_t(1) << 62;
  faultOf("past the end", right + kWgmmaBytes / 16 - 8, "outside the block's 10240");
  faultOf("off its boundary", (right + 8) | swizzle128 | uint64_t(64) << 32, "does not start on its boundary of 1024");
  faultOf("a stride", right | swizzle128, "no multiple of the swizzle pattern");
  faultOf("a reserved bit", right | uint64_t(1) << 46, "reserved bits of the descriptor are set");
  Line line = whole(Wgmma().line());
  line.text.replace(line.text.find(", 0, 0;"), 7, ", 2, 0;");
  expectFault("a transposition", line, "a transposition that is neither 0 nor 1");
}

}  // namespace

void checkWgmmaOrder() {
  checkWhenRead();
  checkGroups();
  checkBusyRegisters();
  checkOrder();
  checkWarpgroups();
  checkOperands();
}

}  // namespace tilewise::ptx
