// wgmma's shapes and setmaxnreg. What is allowed while products are in flight: wgmma_order.cc.
// Reader: whoever adds a width.
#include "../../check.h"
#include "../expect.h"
#include "families.h"
#include "wgmma_line.h"

namespace tilewise::ptx {
namespace {

void checkProducts() {
  for (const char* type : {"bf16", "f16"}) {
    for (const uint32_t n : {64, 80, 112, 128, 176, 192, 256}) {
      for (uint32_t i = 0; i < 12; ++i) {
        const Wgmma wgmma{n, type, i % 2 == 1 && i < 8, i / 2 % 2 == 1, i >= 8};
        const bool keep = i < 8 ? i / 4 == 1 : i % 2 == 1;
        Line line = wgmma.line();
        line.operands[line.operands.size() - 2] = Bits(kWarpgroup, keep);
        line = whole(line);
        line.words = keep ? "lazy" : "races,random:2";
        expectSums(line.words + " " + wgmma.opcode(), run(line), wgmma, keep, 1);
      }
    }
  }
}

// Three products on one accumulator, with no fence or wait between them; two warpgroups, each for itself.
void checkChains() {
  for (const char* words : {"lazy", "eager", "races", "random:1", "races,random:2"}) {
    const Wgmma wgmma;
    Line line = wgmma.line();
    line.words = words;
    line.text += "\n" + line.text + "\n" + commit() + line.text;
    expectSums(std::string("a chain, ") + words, run(whole(line)), wgmma, 1, 3);
    Line two = whole(wgmma.line());
    two.words = words;
    two.threads = 2 * kWarpgroup;
    for (Bits& bits : two.operands) bits.insert(bits.end(), bits.begin(), bits.begin() + kWarpgroup);
    Outcome outcome = run(two);
    expectSums(std::string("the first warpgroup, ") + words, outcome, wgmma, 1, 1);
    for (Bits& bits : outcome.results) bits.erase(bits.begin(), bits.begin() + kWarpgroup);
    expectSums(std::string("the second warpgroup, ") + words, outcome, wgmma, 1, 1);
  }
}

// Of warps 0 to 3, and of 4 to 7 but for one, where that does something else. 256 threads have 248 registers each.
std::string errorOfRegisters(const std::string& first, const std::string& second, const std::string& ofWarp6 = "") {
  Line line;
  line.threads = 256;
  line.sources = "pp";
  line.operands = {bitsOf(256, [](uint32_t t) { return t >= 128; }),
                   bitsOf(256, [](uint32_t t) { return t / 32 == 6; })};
  const std::string warp6 = ofWarp6.empty() ? "" : "@%a1 bra WARP6;\n";
  line.text = "@%a0 bra SECOND;\n" + first + "bra OVER;\nSECOND:\n" + warp6 + second + "bra OVER;\nWARP6:\n" + ofWarp6 +
              "OVER:";
  return run(line).error;
}

void checkRegisterCounts() {
  const auto set = [](const char* direction, uint32_t registers) {
    return lineOf(std::string("setmaxnreg.") + direction + ".sync.aligned.u32", "i", {std::to_string(registers)}).text +
           "\n";
  };
  const auto expect = [](const char* part, const std::string& error) {
    CHECK(*part == '\0' ? error.empty() : emulator::contains(error, part), "setmaxnreg: no '%s' in: %s", part,
          error.c_str());
  };
  expect("", errorOfRegisters(set("dec", 40), set("inc", 256)));
  expect("", errorOfRegisters(set("dec", 24) + set("inc", 64), set("dec", 248) + set("dec", 240)));
  expect("want 504 registers of 496", errorOfRegisters(set("dec", 248), set("inc", 256)));
  expect("not a multiple of 8 from 24 to 256", errorOfRegisters(set("dec", 36), set("dec", 40)));
  expect("not a multiple of 8 from 24 to 256", errorOfRegisters(set("dec", 16), set("dec", 40)));
  expect("not a multiple of 8 from 24 to 256", errorOfRegisters(set("inc", 264), set("dec", 40)));
  expect("are no increase of 40", errorOfRegisters(set("dec", 40) + set("inc", 32), set("dec", 40)));
  expect("are no decrease of 40", errorOfRegisters(set("dec", 40) + set("dec", 48), set("dec", 40)));
  expect("another warp of the warpgroup asked for others",
         errorOfRegisters(set("dec", 40), set("dec", 48), set("dec", 56)));
  expect("missed a setmaxnreg of its warpgroup", errorOfRegisters(set("dec", 40), set("dec", 48), "bra OVER;\n"));
}

}  // namespace

void checkWarpgroupOpcodes() {
  checkProducts();
  checkChains();
  checkRegisterCounts();
  checkWgmmaOrder();
}

}  // namespace tilewise::ptx
