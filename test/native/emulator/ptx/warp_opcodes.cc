// What lanes of a warp tell each other. PTX ISA, "Data Movement: shfl.sync", "Parallel Synchronization: vote.sync,
// bar.warp.sync": with the manual's own steps. Reader: whoever adds one.
#include "../../check.h"
#include "../../pick.h"
#include "../expect.h"
#include "families.h"
#include "line.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kLanes = 32, kAll = 0xffffffff;
const char* const kShuffleForm = "w|p = w, w, w, w";

struct Read {
  uint32_t lane;  // that is read
  bool isWithin;
};

// The manual's steps, for its modes up, bfly and idx.
Read manual(const std::string& mode, uint32_t lane, uint32_t b, uint32_t c) {
  const uint32_t value = b % 32, clamp = c % 32, segment = c / 256 % 32;
  const uint32_t maxLane = (lane & segment) | (clamp & ~segment), minLane = lane & segment;
  int from = 0;
  bool isWithin = false;
  if (mode == "up") {
    from = int(lane) - int(value);
    isWithin = from >= int(maxLane);
  } else {
    from = int(mode == "bfly" ? lane ^ value : minLane | (value & ~segment));
    isWithin = from <= int(maxLane);
  }
  return {isWithin ? uint32_t(from) : lane, isWithin};
}

// Lanes of the members, the others jump over it. Every lane may ask for another lane.
void expectShuffle(const std::string& mode, uint32_t members, uint32_t limits, const Bits& asked) {
  const std::string opcode = "shfl.sync." + mode + ".b32";
  Line line = lineOf(opcode, kShuffleForm);
  line.text = "mov.b32 %d0, 0f3F800000;\nmov.pred %d1, -1;\n@!%a4 bra OVER;\n" + line.text + "\nOVER:";
  line.sources += "p";
  const auto isMember = [&](uint32_t lane) { return members >> lane & 1; };
  line.operands = {bitsOf(kLanes, [](uint32_t lane) { return 0x80001111 * (lane + 1) % 0x100000000; }), asked,
                   Bits(kLanes, limits), Bits(kLanes, members), bitsOf(kLanes, isMember)};
  const Outcome outcome = run(line);
  const auto readOf = [&](uint32_t lane) { return manual(mode, lane, uint32_t(asked[lane]), limits); };
  const std::string what = opcode + ", limits " + std::to_string(limits) + ", members " + std::to_string(members);
  expectBits(what, outcome, 0, bitsOf(kLanes, [&](uint32_t lane) {
               return isMember(lane) ? line.operands[0][readOf(lane).lane] : 0x3f800000;
             }));
  expectBits(what, outcome, 1, bitsOf(kLanes, [&](uint32_t lane) { return !isMember(lane) || readOf(lane).isWithin; }));
}

void checkShuffles() {
  // The bound of up is the lowest lane, 0; of the others the highest. The segment mask makes pieces of 16, 8, 4, 2, 1.
  for (const uint32_t segment : {0u, 16u, 24u, 28u, 30u, 31u}) {
    for (const uint32_t bound : {0u, 31u, 7u, 20u}) {
      const uint32_t limits = segment << 8 | bound;
      for (uint32_t n = 0; n < 5; ++n) {
        for (const char* mode : {"up", "bfly", "idx"})
          expectShuffle(mode, kAll, limits, Bits(kLanes, uint64_t(1) << n));
      }
      Pick pick(limits);
      const Bits any = bitsOf(kLanes, [&](uint32_t) { return uint32_t(pick(1 << 24)); });  // only five bits count
      for (const char* mode : {"up", "bfly", "idx"}) expectShuffle(mode, kAll, limits, any);
    }
  }
  // Half a warp, and four lanes of each eight, among themselves.
  expectShuffle("bfly", 0x0000ffff, 0x1f, Bits(kLanes, 8));
  expectShuffle("bfly", 0xf0f0f0f0, 0x1f, Bits(kLanes, 3));
  expectShuffle("idx", 0xffff0000, 0x1f, Bits(kLanes, 29));
  expectShuffle("up", 0x0000ffff, 0, Bits(kLanes, 1));
}

// Into the register that is read, too.
void checkShuffleInPlace() {
  Line line = lineOf("shfl.sync.bfly.b32", kShuffleForm, {"%a0", "%d1", "%a0", "%a1", "%a2", "%a3"});
  line.text += "\nmov.b32 %d0, %a0;";
  line.operands = {bitsOf(kLanes, [](uint32_t lane) { return lane * lane; }), Bits(kLanes, 31), Bits(kLanes, 31),
                   Bits(kLanes, kAll)};
  expectBits(line.text, run(line), 0, bitsOf(kLanes, [](uint32_t lane) { return (31 - lane) * (31 - lane); }));
}

void checkBallot() {
  for (const uint32_t members : {kAll, 0x0000ffffu, 0x80000001u, 0x55555555u}) {
    for (const uint32_t votes : {0u, kAll, 0x12345678u, 0x80000000u, 0x0000fffeu}) {
      Line line = lineOf("vote.sync.ballot.b32", "w = p, w");
      line.text = "mov.b32 %d0, 77;\n@!%a2 bra OVER;\n" + line.text + "\nOVER:";
      line.sources += "p";
      line.operands = {bitsOf(kLanes, [=](uint32_t lane) { return votes >> lane & 1; }), Bits(kLanes, members),
                       bitsOf(kLanes, [=](uint32_t lane) { return members >> lane & 1; })};
      expectBits("vote.sync.ballot.b32", run(line), 0,
                 bitsOf(kLanes, [=](uint32_t lane) { return members >> lane & 1 ? votes & members : 77; }));
    }
  }
}

// One of the lanes that are there, the same one each time; by the seed which.
void checkElection() {
  for (const uint32_t members : {kAll, 0x0000ffffu, 0x80000000u, 0x00ff0100u}) {
    uint32_t elected = 0;
    for (const char* words : {"lazy", "random:1", "random:7"}) {
      Line line = lineOf("elect.sync", "_|p = w");
      const std::string again = lineOf("elect.sync", "_|p = w", {"%d1", "%a0"}).text;
      line.text = "mov.pred %d0, 0;\nmov.pred %d1, 0;\n@!%a1 bra OVER;\n" + line.text + "\n" + again + "\nOVER:";
      line.sources += "p";
      line.results = "pp";
      line.words = words;
      line.operands = {Bits(kLanes, members), bitsOf(kLanes, [=](uint32_t lane) { return members >> lane & 1; })};
      const Outcome outcome = run(line);
      uint32_t leaders = 0;
      for (uint32_t lane = 0; lane < kLanes; ++lane) leaders |= uint32_t(outcome.results[0][lane]) << lane;
      CHECK(outcome.error.empty() && __builtin_popcount(leaders) == 1 && (leaders & ~members) == 0,
            "elect.sync of %08x: %08x %s", members, leaders, outcome.error.c_str());
      expectBits("elect.sync again", outcome, 1, outcome.results[0]);
      elected |= leaders;
    }
    CHECK(members == 0x80000000 || __builtin_popcount(elected) > 1, "elect.sync: always %08x", elected);
  }
}

// Orders what lanes have written to shared memory before what others read after it.
void checkWarpBarrier() {
  for (const uint32_t members : {kAll, 0x00ff00ffu}) {
    Line line = lineOf("bar.warp.sync", "w");
    line.text = "@!%a2 bra OVER;\nst.shared.b32 [%a1], %a3;\n" + line.text + "\nld.shared.b32 %d0, [%a4];\nOVER:";
    line.sources = "wspws";
    line.results = "w";
    line.words = "races";
    line.shared = std::vector<uint8_t>(128);
    line.operands = {Bits(kLanes, members), bitsOf(kLanes, [](uint32_t lane) { return lane * 4; }),
                     bitsOf(kLanes, [=](uint32_t lane) { return members >> lane & 1; }),
                     bitsOf(kLanes, [](uint32_t lane) { return lane + 500; }),
                     bitsOf(kLanes, [](uint32_t lane) { return (lane ^ 1) * 4; })};
    const Outcome outcome = run(line);
    CHECK(outcome.error.empty(), "bar.warp.sync: %s", outcome.error.c_str());
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      if (members >> lane & 1) CHECK(outcome.results[0][lane] == (lane ^ 1) + 500, "bar.warp.sync, lane %u", lane);
    }
  }
}

// Each lane that is there must name all those that are there, and no others.
void checkMembers() {
  const auto errorOf = [](Line line, uint32_t mask, size_t sourceOfMask) {
    for (size_t i = 0; i < line.sources.size(); ++i) line.operands.push_back(Bits(kLanes, 0));
    line.operands[sourceOfMask] = Bits(kLanes, mask);
    return run(line).error;
  };
  for (const uint32_t mask : {0u, 0x7fffffffu, 0xfffffffeu}) {
    for (const std::string& error :
         {errorOf(lineOf("shfl.sync.idx.b32", kShuffleForm), mask, 3),
          errorOf(lineOf("shfl.sync.up.b32", kShuffleForm), mask, 3),
          errorOf(lineOf("shfl.sync.bfly.b32", kShuffleForm), mask, 3),
          errorOf(lineOf("vote.sync.ballot.b32", "w = p, w"), mask, 1),
          errorOf(lineOf("elect.sync", "_|p = w"), mask, 0), errorOf(lineOf("bar.warp.sync", "w"), mask, 0)}) {
      CHECK(emulator::contains(error, "names other lanes than are there, ffffffff"), "mask %x: %s", mask,
            error.c_str());
    }
  }
}

}  // namespace

void checkWarpOpcodes() {
  checkShuffles();
  checkShuffleInPlace();
  checkBallot();
  checkElection();
  checkWarpBarrier();
  checkMembers();
}

}  // namespace tilewise::ptx
