// mbarrier: counts, phases and parities, and who waits for them. PTX ISA, "Parallel Synchronization: mbarrier": a phase
// is over when as many arrivals have come as init says; try_wait.parity asks for the end of the phase of this parity,
// of which the one before the first counts as over. Bytes: bulk_copy_opcodes.cc. Reader: whoever changes how warps
// wait.
#include "../../check.h"
#include "../expect.h"
#include "families.h"
#include "line.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kLanes = 32;
const char* const kInit = "mbarrier.init.shared::cta.b64";
const char* const kArrive = "mbarrier.arrive.shared::cta.b64";
const char* const kExpect = "mbarrier.arrive.expect_tx.shared::cta.b64";
const char* const kTryWait = "mbarrier.try_wait.parity.shared::cta.b64";

std::string init(const std::string& address, const std::string& count) {
  return lineOf(kInit, "[w], w", {address, count}).text + "\n";
}
std::string arrive(const std::string& address) { return lineOf(kArrive, "_, [w]", {address}).text + "\n"; }
std::string tryWait(const std::string& result, const std::string& address, const std::string& parity) {
  return lineOf(kTryWait, "p = [w], w", {result, address, parity}).text + "\n";
}
std::string fence() { return lineOf("fence.mbarrier_init.release.cluster", "").text + "\n"; }

// Sources: the start of shared memory, whether this is the thread that initialises, and whatever the text adds.
Line lineFor(const std::string& text, uint32_t threads = kLanes) {
  Line line;
  line.text = text;
  line.threads = threads;
  line.sources = "sp";
  line.shared.resize(threads * 4);
  line.operands = {Bits(threads, 0), bitsOf(threads, [](uint32_t thread) { return thread == 5; })};
  return line;
}
std::string prepared(const std::string& count) { return "@%a1 " + init("%a0", count) + fence() + "bar.sync 0;\n"; }

// Two barriers: of two arrivals, both there, and of three, one missing. Lanes ask for one each, then for the other,
// then for both with the other parity. Nobody waits where somebody has an answer.
void checkPhases() {
  Line line = lineFor("@%a1 " + init("%a0+8", "2") + "@%a1 " + init("%a0+16", "%a3") + "bar.sync 0;\n@%a4 " +
                      arrive("%a0+8") + "@%a4 " + arrive("%a0+16") + "bar.sync 0;\n" + tryWait("%d0", "%a2+8", "0") +
                      tryWait("%d1", "%a5+8", "%a6") + tryWait("%d2", "%a2+8", "1") + tryWait("%d3", "%a0+16", "1"));
  line.sources = "spswpsw";
  line.results = "pppp";
  const auto odd = [](uint32_t lane) { return lane % 2; };
  line.operands.push_back(bitsOf(kLanes, [&](uint32_t lane) { return 8 * odd(lane); }));
  line.operands.push_back(Bits(kLanes, 3));
  line.operands.push_back(bitsOf(kLanes, [](uint32_t lane) { return lane == 3 || lane == 20; }));
  line.operands.push_back(bitsOf(kLanes, [&](uint32_t lane) { return 8 - 8 * odd(lane); }));
  line.operands.push_back(Bits(kLanes, 0));
  for (const char* words : {"lazy", "races", "random:2"}) {
    line.words = words;
    const Outcome outcome = run(line);
    expectBits("try_wait", outcome, 0, bitsOf(kLanes, [&](uint32_t lane) { return 1 - odd(lane); }));
    expectBits("try_wait, the other barrier", outcome, 1, bitsOf(kLanes, odd));
    expectBits("try_wait, the other parity", outcome, 2, bitsOf(kLanes, odd));
    expectBits("try_wait before the first phase", outcome, 3, Bits(kLanes, 1));
  }
}

// All threads arrive three times; between phases each reads what another warp wrote before it.
void checkRounds() {
  constexpr uint32_t kThreads = 96, kRounds = 3;
  std::string text = "@%a1 " + init("%a0", "96") + fence() + "bar.sync 0;\nmov.b32 %d0, 0;\n";
  for (uint32_t round = 0; round < kRounds; ++round) {
    const std::string n = std::to_string(round), parity = std::to_string(round % 2);
    text += "add.s32 %a3, %a3, %a3;\nst.shared.b32 [%a2+" + std::to_string(8 + round * kThreads * 4) + "], %a3;\n" +
            arrive("%a0") + "AGAIN" + n + ":\n" + tryWait("%d2", "%a0", parity) + "@!%d2 bra AGAIN" + n +
            ";\nld.shared.b32 %d1, [%a4+" + std::to_string(8 + round * kThreads * 4) + "];\nadd.s32 %d0, %d0, %d1;\n";
  }
  Line line = lineFor(text, kThreads);
  line.sources = "spsws";
  line.results = "wwp";
  line.shared.resize(kThreads * 4 * 4);
  const auto other = [](uint32_t thread) { return (thread + 40) % kThreads; };
  line.operands.push_back(bitsOf(kThreads, [](uint32_t thread) { return thread * 4; }));
  line.operands.push_back(bitsOf(kThreads, [](uint32_t thread) { return thread + 7; }));
  line.operands.push_back(bitsOf(kThreads, [&](uint32_t thread) { return other(thread) * 4; }));
  for (const char* words : {"lazy", "races", "random:1", "races,random:2", "random:3"}) {
    line.words = words;
    expectBits(std::string("mbarrier, rounds, ") + words, run(line), 0,
               bitsOf(kThreads, [&](uint32_t thread) { return (other(thread) + 7) * (2 + 4 + 8); }));
  }
}

void expectFault(const Line& line, const std::string& words, std::initializer_list<const char*> parts) {
  Line asked = line;
  asked.words = words;
  const std::string error = run(asked).error;
  for (const char* part : parts) CHECK(emulator::contains(error, part), "no '%s' in: %s", part, error.c_str());
}

void checkFaults() {
  const std::string one = prepared("1");
  expectFault(lineFor(init("%a0+4", "1")), "lazy", {"mbarrier.init", "misaligned"});
  expectFault(lineFor(init("%a0", "0")), "lazy", {"a count of 0"});
  expectFault(lineFor(init("%a0", "1048576")), "lazy", {"a count of 1048576"});
  expectFault(lineFor(init("%a0+128", "1")), "lazy", {"outside the block's 128"});
  expectFault(lineFor(one + arrive("%a0+8")), "lazy", {"thread 0", "no mbarrier was initialised at shared 1032"});
  expectFault(lineFor(one + "@%a1 " + lineOf(kExpect, "_, [w], w", {"%a0", "64"}).text + "\n@%a1 " + arrive("%a0")),
              "lazy", {"thread 5", "more arrivals than this phase has"});
  expectFault(lineFor(one + "@%a1 " + lineOf(kExpect, "_, [w], w", {"%a0", "1048576"}).text), "lazy",
              {"thread 5", "1048576 bytes are more than an mbarrier counts"});
  Line waits = lineFor(one + tryWait("%d0", "%a0", "2"));
  waits.results = "p";
  expectFault(waits, "lazy", {"a parity of 2"});
  expectFault(lineFor("@%a1 " + init("%a0", "32") + fence() + arrive("%a0")), "races",
              {"an mbarrier with no barrier of the block after its initialisation"});
  // A phase that never ends, and one that has ended while its waiter looks for the next.
  waits.text = prepared("2") + "@%a1 " + arrive("%a0") + "AGAIN:\n" + tryWait("%d0", "%a0", "0") + "@!%d0 bra AGAIN;";
  for (const char* words : {"lazy", "random:1", "races"}) {
    expectFault(waits, words,
                {"deadlock", "warp 0: mbarrier.try_wait", "phase 0, 1 of 2 arrivals and 0 bytes missing"});
  }
  waits.text = one + "@%a1 " + arrive("%a0") + "AGAIN:\n" + tryWait("%d0", "%a0", "1") + "@!%d0 bra AGAIN;";
  expectFault(waits, "lazy", {"deadlock", "phase 1, 1 of 1 arrivals"});
}

// An arrival without a wait orders nothing, and a wait orders only what came before the arrivals.
void checkOrder() {
  const std::string write = "@%a1 st.shared.b32 [%a0+64], 7;\n", arrives = "@%a1 " + arrive("%a0");
  const std::string waits = "AGAIN:\n" + tryWait("%d0", "%a0", "0") + "@!%d0 bra AGAIN;\n";
  const std::string read = "ld.shared.b32 %d1, [%a0+64];";
  const auto expect = [&](const std::string& text, const char* part) {
    Line line = lineFor(prepared("1") + text);
    line.results = "pw";
    line.words = "races";
    const std::string error = run(line).error;
    CHECK(*part == 0 ? error.empty() : emulator::contains(error, part), "'%s' in: %s", part, error.c_str());
  };
  expect(write + arrives + waits + read, "");
  expect(write + arrives + read + "\nmov.pred %d0, 0;", "race, read after write");
  expect(arrives + write + waits + read, "race, read after write");
}

}  // namespace

void checkMbarrierOpcodes() {
  checkPhases();
  checkRounds();
  checkFaults();
  checkOrder();
}

}  // namespace tilewise::ptx
