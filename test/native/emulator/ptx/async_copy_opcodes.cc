// cp.async: what a copy writes, and what a wait for groups leaves in flight. PTX ISA, "Data Movement: cp.async": the
// source size counts, the rest of 16 bytes becomes zero; wait_group N waits for all but the last N groups. Reader:
// whoever changes when copies land.
#include <algorithm>

#include "../../check.h"
#include "../expect.h"
#include "families.h"
#include "line.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kLanes = 32, kBytes = 16;
constexpr uint8_t kInFlight = 0xff;
const char* const kCopy = "cp.async.cg.shared.global";
const char* const kCopyForm = "[w], [l], 16, w";

std::vector<uint8_t> imageOf(uint32_t seed) {
  std::vector<uint8_t> image(1024);
  for (uint32_t i = 0; i < image.size(); ++i) image[i] = uint8_t(seed + 0x1d * i + i / 128);
  return image;
}

std::string commit() { return "\n" + lineOf("cp.async.commit_group", "").text; }
std::string waitFor(const std::string& pending) { return "\n" + lineOf("cp.async.wait_group", "i", {pending}).text; }

// 32 lanes write half of shared memory backwards, each a size of its own; lane 9 copies nothing.
void checkSizes() {
  const Bits sizes = bitsOf(kLanes, [](uint32_t lane) { return lane * 5 % (kBytes + 1); });
  const auto to = [](uint32_t lane) { return 31 * kBytes - lane * kBytes + 256; };
  for (const char* words : {"lazy", "eager", "random:3", "races"}) {
    Line line = lineOf(kCopy, kCopyForm, {"%a0+-240", "%a1+32", "%a2"});
    line.text = "@%a3 " + line.text + commit() + waitFor("0");
    line.sources += "p";
    line.words = words;
    line.global = imageOf(7);
    line.shared = imageOf(100);
    line.operands = {bitsOf(kLanes, to), bitsOf(kLanes, [](uint32_t lane) { return lane * 3 % kLanes * kBytes; }),
                     sizes, bitsOf(kLanes, [](uint32_t lane) { return lane != 9; })};
    std::vector<uint8_t> expected = line.shared;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      for (uint32_t i = 0; lane != 9 && i < kBytes; ++i) {
        expected[to(lane) - 240 + i] = i < sizes[lane] ? line.global[lane * 3 % kLanes * kBytes + 32 + i] : 0;
      }
    }
    const Outcome outcome = run(line);
    CHECK(outcome.error.empty(), "%s: %s", words, outcome.error.c_str());
    expectBytes(std::string("cp.async, sizes, ") + words, outcome.shared, expected);
  }
}

// Three groups of a copy each, the second one with a second copy, and a copy that is in no group; a wait for all but N.
void checkGroups() {
  constexpr uint32_t kPart = 128;  // bytes, of 8 lanes: 0, 1 and 3 in groups 0, 1, 1; 4 in group 2; 5 in none
  const uint32_t groups[] = {0, 1, 1, 2, 3};
  for (uint32_t pending = 0; pending <= 4; ++pending) {
    for (const char* words : {"lazy", "eager"}) {
      Line line;
      line.words = words;
      line.sources = "sgwp";
      for (uint32_t part = 0; part < 5; ++part) {
        const std::string offset = "+" + std::to_string(part * kPart);
        line.text += "\n@%a3 " + lineOf(kCopy, kCopyForm, {"%a0" + offset, "%a1" + offset, "%a2"}).text;
        if (part != 1 && part != 4) line.text += commit();
      }
      line.text += waitFor(std::to_string(pending));
      const auto place = [](uint32_t lane) { return lane % 8 * kBytes; };
      line.operands = {bitsOf(kLanes, place), bitsOf(kLanes, place), Bits(kLanes, kBytes),
                       bitsOf(kLanes, [](uint32_t lane) { return lane >= 24; })};
      line.global = imageOf(50);
      line.shared = imageOf(200);
      std::vector<uint8_t> expected = line.shared;
      for (uint32_t i = 0; i < 5 * kPart; ++i) {
        const bool isThere = line.words == "eager" || groups[i / kPart] + pending < 3;
        expected[i] = isThere ? line.global[i] : kInFlight;
      }
      const Outcome outcome = run(line);
      CHECK(outcome.error.empty(), "%s: %s", words, outcome.error.c_str());
      expectBytes("cp.async, all but " + std::to_string(pending) + " groups, " + words, outcome.shared, expected);
    }
  }
}

void checkFaults() {
  struct Fault {
    uint64_t to, from, bytes;
    const char* part;
  };
  for (const Fault& fault :
       {Fault{8, 0, 16, "misaligned"}, Fault{0, 8, 16, "misaligned"}, Fault{0, 0, 17, "17 bytes of 16"},
        Fault{1024, 0, 0, "outside the block's 1024"}, Fault{0, 1024, 1, "outside every allocation"}}) {
    Line line = lineOf(kCopy, kCopyForm);
    line.global = imageOf(1);
    line.shared = imageOf(2);
    line.operands = {Bits(kLanes, fault.to), Bits(kLanes, fault.from), Bits(kLanes, fault.bytes)};
    const std::string error = run(line).error;
    CHECK(emulator::contains(error, fault.part), "no '%s' in: %s", fault.part, error.c_str());
  }
}

}  // namespace

void checkAsyncCopyOpcodes() {
  checkSizes();
  checkGroups();
  checkFaults();
}

}  // namespace tilewise::ptx
