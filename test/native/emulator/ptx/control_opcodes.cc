// Branches, the end of a kernel, and barriers of a block. PTX ISA, "Control Flow Instructions" and "Parallel
// Synchronization: bar". Reader: whoever changes how warps take turns.
#include "../../check.h"
#include "../expect.h"
#include "families.h"
#include "line.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kLanes = 32, kThreads = 128;

std::string bra(const std::string& label) { return lineOf("bra", "L", {label}).text + "\n"; }
std::string uniform(const std::string& label) { return lineOf("bra.uni", "L", {label}).text + "\n"; }

// n becomes n / 2 or 3n + 1 until it is 1: each lane goes its own way, and takes its own number of rounds.
uint64_t roundsOf(uint64_t n) {
  uint64_t rounds = 0;
  for (; n != 1; ++rounds) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
  return rounds;
}

void checkBranches() {
  Line line;
  line.sources = "w";
  line.results = "wwpw";
  line.text = "mov.b32 %d0, 0;\n" + uniform("LOOP") + "mov.b32 %d0, 1000;\nLOOP:\nsetp.eq.s32 %d2, %a0, 1;\n@%d2 " +
              bra("END") + "and.b32 %d1, %a0, 1;\nsetp.eq.s32 %d2, %d1, 1;\nadd.s32 %d0, %d0, 1;\n@!%d2 " +
              bra("EVEN") + "mad.lo.s32 %a0, %a0, 3, 1;\n" + uniform("LOOP") + "EVEN:\nshr.u32 %a0, %a0, 1;\n" +
              bra("LOOP") + "END:\nmov.b32 %d3, %a0;";
  line.operands = {bitsOf(kLanes, [](uint32_t lane) { return lane + 1; })};
  for (const char* words : {"lazy", "random:5"}) {
    line.words = words;
    const Outcome outcome = run(line);
    expectBits("bra, rounds", outcome, 0, bitsOf(kLanes, [](uint32_t lane) { return roundsOf(lane + 1); }));
    expectBits("bra, end", outcome, 3, Bits(kLanes, 1));
  }
}

// Both sides of a branch that all lanes take, that none takes, and that some take; a guard, and a negated one.
void checkGuards() {
  for (const uint32_t taken : {0u, 0xffffffffu, 0x00000001u, 0x5555aaaau}) {
    Line line;
    line.sources = "p";
    line.results = "ww";
    line.text = "mov.b32 %d1, 5;\n@%a0 " + bra("A") + "mov.b32 %d0, 1;\n" + bra("B") +
                "A:\nmov.b32 %d0, 2;\nB:\n@!%a0 " + bra("C") + "add.s32 %d1, %d1, 10;\nC:\nadd.s32 %d1, %d1, 100;";
    const auto isTaken = [=](uint32_t lane) { return taken >> lane & 1; };
    line.operands = {bitsOf(kLanes, isTaken)};
    const Outcome outcome = run(line);
    expectBits("bra, either", outcome, 0, bitsOf(kLanes, [=](uint32_t lane) { return isTaken(lane) ? 2 : 1; }));
    expectBits("bra, over", outcome, 1, bitsOf(kLanes, [=](uint32_t lane) { return isTaken(lane) ? 115 : 105; }));
  }
}

// Lanes that leave do nothing more; the others go on, and are a warp.
void checkReturns() {
  Line line = lineOf("ret", "");
  line.sources = "p";
  line.results = "ww";
  line.text = "mov.b32 %d0, 9;\n@%a0 " + line.text + "\nvote.sync.ballot.b32 %d1, %a0, 0x0fffff0f;";
  const auto leaves = [](uint32_t lane) { return (0xf00000f0u >> lane & 1) != 0; };
  line.operands = {bitsOf(kLanes, leaves)};
  const Outcome outcome = run(line);
  expectBits("ret, who stays", outcome, 0, bitsOf(kLanes, [&](uint32_t lane) { return leaves(lane) ? 0 : 9; }));
  expectBits("ret, votes", outcome, 1, Bits(kLanes, 0));
}

// Each thread writes its slot and reads one of another warp behind the barrier.
Line exchange(const std::string& barrier, uint32_t distance) {
  Line line;
  line.threads = kThreads;
  line.text = "st.shared.b32 [%a0], %a1;\n" + barrier + "\nld.shared.b32 %d0, [%a2];";
  line.sources = "sws";
  line.results = "w";
  line.shared.resize(kThreads * 4);
  line.operands = {bitsOf(kThreads, [](uint32_t i) { return 4 * i; }),
                   bitsOf(kThreads, [](uint32_t i) { return i * i; }),
                   bitsOf(kThreads, [=](uint32_t i) { return 4 * (i ^ distance); })};
  return line;
}

void expectExchange(Line line, uint32_t distance) {
  for (const char* words : {"races", "races,random:1", "races,random:2", "random:3"}) {
    line.words = words;
    expectBits(line.text + words, run(line), 0,
               bitsOf(kThreads, [=](uint32_t i) { return (i ^ distance) * (i ^ distance); }));
  }
}

void checkBarriers() {
  expectExchange(exchange(lineOf("bar.sync", "w", {"0"}).text, 64), 64);
  expectExchange(exchange(lineOf("bar.sync", "w", {"15"}).text + "\n" + lineOf("bar.sync", "w", {"15"}).text, 32), 32);
  // Two warps each, at a barrier and of a count that registers say.
  Line pairs = exchange(lineOf("bar.sync", "w, w", {"%a3", "%a4"}).text, 32);
  pairs.sources += "ww";
  pairs.operands.push_back(bitsOf(kThreads, [](uint32_t i) { return i / 64 + 1; }));
  pairs.operands.push_back(Bits(kThreads, 64));
  expectExchange(pairs, 32);
  pairs.operands.back() = Bits(kThreads, 96);
  const std::string error = run(pairs).error;
  CHECK(emulator::contains(error, "deadlock"), "a barrier of more warps than come: %s", error.c_str());
}

// Warps 0 to 2 arrive at barrier 4, write, and arrive at barrier 3; warp 3 waits at 3, reads what they wrote, and waits
// at
// 4. Would arriving wait, neither would go on.
void checkArrivals() {
  for (const char* words : {"races", "races,random:1", "races,random:2"}) {
    Line line;
    line.threads = kThreads;
    line.words = words;
    line.sources = "swp";
    line.results = "www";
    const auto arrive = [](const char* barrier) { return lineOf("bar.arrive", "w, w", {barrier, "128"}).text + "\n"; };
    const auto wait = [](const char* barrier) { return lineOf("bar.sync", "w, w", {barrier, "128"}).text + "\n"; };
    line.text = "mov.b32 %d0, 7;\nmov.b32 %d1, 7;\nmov.b32 %d2, 7;\n@%a2 " + bra("READ") + arrive("4") +
                "st.shared.b32 [%a0], %a1;\n" + arrive("3") + uniform("OVER") + "READ:\n" + wait("3") +
                "ld.shared.b32 %d0, [%a0+-384];\nld.shared.b32 %d1, [%a0+-256];\nld.shared.b32 %d2, [%a0+-128];\n" +
                wait("4") + "OVER:";
    line.shared.resize(kThreads * 4);
    line.operands = {bitsOf(kThreads, [](uint32_t i) { return 4 * i; }),
                     bitsOf(kThreads, [](uint32_t i) { return i + 1000; }),
                     bitsOf(kThreads, [](uint32_t i) { return i >= 96; })};
    const Outcome outcome = run(line);
    for (uint32_t warp = 0; warp < 3; ++warp) {
      expectBits("bar.arrive", outcome, warp,
                 bitsOf(kThreads, [=](uint32_t i) { return i >= 96 ? i - 96 + 32 * warp + 1000 : 7; }));
    }
  }
}

// Whether any thread of the block says so, to all of them; and as a barrier, twice.
void checkReductions() {
  for (const uint32_t voter : {kThreads, 0u, 31u, 64u, 127u}) {
    Line line = exchange(lineOf("bar.red.or.pred", "p = w, p", {"%d1", "0", "%a3"}).text + "\n" +
                             lineOf("bar.red.or.pred", "p = w, p", {"%d2", "0", "%a4"}).text,
                         96);
    line.sources += "pp";
    line.results += "pp";
    line.operands.push_back(bitsOf(kThreads, [=](uint32_t i) { return i == voter; }));
    line.operands.push_back(bitsOf(kThreads, [=](uint32_t i) { return i == (voter + 64) % 192; }));
    expectExchange(line, 96);
    const Outcome outcome = run(line);
    expectBits("bar.red.or.pred", outcome, 1, Bits(kThreads, voter < kThreads));
    expectBits("bar.red.or.pred again", outcome, 2, Bits(kThreads, (voter + 64) % 192 < kThreads));
  }
}

}  // namespace

void checkControlOpcodes() {
  checkBranches();
  checkGuards();
  checkReturns();
  checkBarriers();
  checkArrivals();
  checkReductions();
}

}  // namespace tilewise::ptx
