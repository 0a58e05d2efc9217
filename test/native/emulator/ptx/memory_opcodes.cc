// ld and st: which bytes, in which order, how far extended, and at which addresses. PTX ISA, "Data Movement: ld, st":
// little-endian, vectors from the lowest address on, narrow numbers extended by their type to the register's width.
// Reader: whoever adds one.
#include <cstring>

#include "../../check.h"
#include "../expect.h"
#include "exact.h"
#include "families.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kLanes = 32;
constexpr uint32_t kOffset = 16;  // of an address that has one
constexpr uint32_t kImage = 1024;

struct Access {
  const char *opcode, *form;
  uint32_t bytes;  // of each number
};

std::vector<uint8_t> imageOf(uint32_t bytes) {
  std::vector<uint8_t> image(bytes);
  for (uint32_t i = 0; i < bytes; ++i) image[i] = uint8_t(0x83 + 0x35 * i + i / 256);
  return image;
}

bool has(const char* opcode, const char* part) { return std::strstr(opcode, part) != nullptr; }

uint64_t littleEndian(const uint8_t* from, uint32_t bytes) {
  uint64_t number = 0;
  for (uint32_t i = bytes; i-- > 0;) number = number * 256 + from[i];
  return number;
}

void giveImage(Line& line, char address) { (address == 's' ? line.shared : line.global) = imageOf(kImage); }

// Each lane reads at its place, a step above it and one below it; every third also below it into the registers of the
// second. `prepare` makes an address of an offset in %a0.
void expectLoad(const Access& load, const std::string& prepare, char address, const std::vector<uint8_t>& image) {
  Line line = lineOf(load.opcode, load.form);
  const std::string kinds = line.results;
  const auto count = uint32_t(kinds.size());
  const uint32_t total = count * load.bytes;
  line.text = prepare + line.text;
  line.sources = std::string(1, address) + "p";
  const auto addLoad = [&](const char* guard, size_t first, const char* from) {
    std::vector<std::string> names;
    for (uint32_t n = 0; n < count; ++n) names.push_back("%d" + std::to_string(first + n));
    names.push_back(from);
    line.text += guard + lineOf(load.opcode, load.form, names).text;
  };
  addLoad("\n", count, "%a0+16");
  addLoad("\n", 2 * count, "%a0+-16");
  addLoad("\n@%a1 ", count, "%a0+-16");
  line.results += kinds + kinds;
  const auto room = uint32_t(image.size()) - 2 * kOffset;
  const auto offsetOf = [&](uint32_t lane) { return kOffset + lane * 7 * total % room; };
  const auto isThird = [](uint32_t lane) { return lane % 3 == 0; };
  line.operands = {bitsOf(kLanes, offsetOf), bitsOf(kLanes, isThird)};
  if (address == 's') line.shared = image;
  if (address == 'g') line.global = image;
  if (address == 'l') line.results += "l";  // a register for prepare
  const Outcome outcome = run(line);
  const bool isSigned = has(load.opcode, ".s32");
  for (uint32_t n = 0; n < 3 * count; ++n) {
    const uint32_t which = n / count;
    expectBits(line.text, outcome, n, bitsOf(kLanes, [&](uint32_t lane) {
                 const uint32_t from = which == 0 ? 0 : which == 1 && !isThird(lane) ? kOffset : 0u - kOffset;
                 const uint64_t bits = littleEndian(&image[offsetOf(lane) + from + n % count * load.bytes], load.bytes);
                 return numberOf(uint64_t(numberOf(bits, load.bytes * 8, isSigned)), bitsIn(kinds[0]), false);
               }));
  }
}

std::vector<uint8_t> parameters() {
  std::vector<uint8_t> bytes(kParameterBytes);
  for (uint32_t i = 0; i < kParameterBytes; ++i) bytes[i] = parameterByte(i);
  return bytes;
}

// By a register, with the parameters' address made generic where the load is; and by name.
void expectParameterLoad(const Access& load, bool isGeneric) {
  const size_t count = lineOf(load.opcode, load.form).results.size();
  const std::string base = "%d" + std::to_string(3 * count);
  expectLoad(load,
             "mov.b64 " + base + ", " + kParameters + ";\n" +
                 (isGeneric ? "cvta.param.u64 " + base + ", " + base + ";\n" : "") + "add.s64 %a0, %a0, " + base +
                 ";\n",
             'l', parameters());
  if (isGeneric) return;
  std::vector<std::string> names;
  for (size_t n = 0; n < count; ++n) names.push_back("%d" + std::to_string(n));
  names.push_back(std::string(kParameters) + "+48");
  Line line = lineOf(load.opcode, load.form, names);
  line.sources.clear();
  const uint64_t bits = littleEndian(&parameters()[48], load.bytes);
  const Int number = numberOf(bits, load.bytes * 8, has(load.opcode, ".s32"));
  expectBits(line.text, run(line), 0, Bits(kLanes, uint64_t(number)));
}

// Into the register that had the address.
void checkAddressOverwritten() {
  Line line = lineOf("ld.global.u64", "l = [l]", {"%a0", "%a0"});
  line.text += "\nmov.b64 %d0, %a0;";
  line.global = imageOf(kImage);
  line.operands = {bitsOf(kLanes, [](uint32_t lane) { return 248 - 8 * lane; })};
  expectBits(line.text, run(line), 0,
             bitsOf(kLanes, [&](uint32_t lane) { return littleEndian(&line.global[248 - 8 * lane], 8); }));
}

void checkLoads() {
  const Access global[] = {
      {"ld.global.u8", "h = [l]", 1},
      {"ld.global.u8", "w = [l]", 1},
      {"ld.global.u16", "h = [l]", 2},
      {"ld.global.u16", "w = [l]", 2},
      {"ld.global.u16", "l = [l]", 2},
      {"ld.global.u32", "w = [l]", 4},
      {"ld.global.f32", "w = [l]", 4},
      {"ld.global.s32", "l = [l]", 4},
      {"ld.global.u64", "l = [l]", 8},
      {"ld.u8", "w = [l]", 1},
      {"ld.u16", "h = [l]", 2},
      {"ld.u32", "w = [l]", 4},
      {"ld.f32", "w = [l]", 4},
      {"ld.s32", "l = [l]", 4},
      {"ld.u64", "l = [l]", 8},
      {"ld.global.v2.u32", "{ww} = [l]", 4},
      {"ld.global.v4.b32", "{wwww} = [l]", 4},
      {"ld.global.v4.u32", "{wwww} = [l]", 4},
  };
  for (const Access& load : global) expectLoad(load, "", 'g', imageOf(kImage));
  for (const Access& load : global) {
    if (!has(load.opcode, ".global")) expectParameterLoad(load, true);
  }
  for (const Access& load : {Access{"ld.shared.b16", "h = [w]", 2}, Access{"ld.shared.b32", "w = [w]", 4},
                             Access{"ld.shared.f32", "w = [w]", 4}, Access{"ld.shared.v4.b32", "{wwww} = [w]", 4}}) {
    expectLoad(load, "", 's', imageOf(kImage));
  }
  for (const Access& load : {Access{"ld.param.u8", "h = [l]", 1}, Access{"ld.param.u32", "w = [l]", 4},
                             Access{"ld.param.u32", "l = [l]", 4}, Access{"ld.param.f32", "w = [l]", 4},
                             Access{"ld.param.s32", "l = [l]", 4}, Access{"ld.param.u64", "l = [l]", 8},
                             Access{"ld.param.v2.u8", "{hh} = [l]", 1}, Access{"ld.param.v4.u8", "{hhhh} = [l]", 1},
                             Access{"ld.param.v2.u32", "{ww} = [l]", 4}, Access{"ld.param.v2.f32", "{ww} = [l]", 4}}) {
    expectParameterLoad(load, false);
  }
  checkAddressOverwritten();
}

// Every lane at its place, and every third below it, too: these bytes, and no others.
void expectStore(const Access& store) {
  Line line = lineOf(store.opcode, store.form);
  const std::string kinds = line.sources.substr(1), guard = "%a" + std::to_string(line.sources.size());
  std::vector<std::string> names{"%a0+-16"};
  for (size_t n = 0; n < kinds.size(); ++n) names.push_back("%a" + std::to_string(n + 1));
  line.text += "\n@" + guard + " " + lineOf(store.opcode, store.form, names).text;
  line.sources += "p";
  giveImage(line, line.sources[0]);
  const auto placeOf = [](uint32_t lane) { return kOffset + lane * 5 % kLanes * 32; };
  line.operands = {bitsOf(kLanes, placeOf)};
  for (size_t n = 0; n < kinds.size(); ++n) {
    line.operands.push_back(bitsOf(kLanes, [&](uint64_t lane) { return (lane + 1) * (n + 3) * 0x9e3779b97f4a7c15; }));
  }
  line.operands.push_back(bitsOf(kLanes, [](uint32_t lane) { return lane % 3 == 0; }));
  std::vector<uint8_t> expected = imageOf(kImage);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    for (uint32_t i = 0; i < kinds.size() * store.bytes; ++i) {
      const auto byte = uint8_t(line.operands[1 + i / store.bytes][lane] >> (i % store.bytes * 8));
      expected[placeOf(lane) + i] = byte;
      if (lane % 3 == 0) expected[placeOf(lane) - kOffset + i] = byte;
    }
  }
  const Outcome outcome = run(line);
  CHECK(outcome.error.empty(), "%s: %s", line.text.c_str(), outcome.error.c_str());
  expectBytes(line.text, line.sources[0] == 's' ? outcome.shared : outcome.global, expected);
}

void expectFault(const Access& access, const char* what, uint64_t place, const char* part) {
  constexpr uint32_t kLane = 21;
  Line line = lineOf(access.opcode, access.form);
  for (size_t i = 0; i < line.sources.size(); ++i) line.operands.push_back(Bits(kLanes, 64));
  line.operands[0][kLane] = place;
  giveImage(line, line.sources[0]);
  const std::string error = run(line).error;
  CHECK(emulator::contains(error, "lane 21") && emulator::contains(error, part), "%s, %s: %s", line.text.c_str(), what,
        error.c_str());
}

void checkStores() {
  for (const Access& store :
       {Access{"st.global.u8", "[l], w", 1}, Access{"st.global.u16", "[l], h", 2}, Access{"st.global.u16", "[l], l", 2},
        Access{"st.global.u16", "[l], w", 2}, Access{"st.global.u32", "[l], w", 4},
        Access{"st.global.u32", "[l], l", 4}, Access{"st.global.f32", "[l], w", 4},
        Access{"st.global.v4.b32", "[l], {wwww}", 4}, Access{"st.global.v4.u32", "[l], {wwww}", 4},
        Access{"st.shared.b16", "[w], h", 2}, Access{"st.shared.b32", "[w], w", 4},
        Access{"st.shared.f32", "[w], w", 4}, Access{"st.shared.v4.b32", "[w], {wwww}", 4}}) {
    expectStore(store);
  }
}

// An address is a multiple of all that is accessed there, and all of it exists.
void checkFaults() {
  for (const auto& [opcode, form, bytes] :
       {Access{"ld.global.u16", "h = [l]", 2}, Access{"ld.global.u32", "w = [l]", 4},
        Access{"ld.global.s32", "l = [l]", 4}, Access{"ld.global.u64", "l = [l]", 8},
        Access{"ld.global.v4.b32", "{wwww} = [l]", 16}, Access{"ld.u64", "l = [l]", 8},
        Access{"st.global.u16", "[l], h", 2}, Access{"st.global.f32", "[l], w", 4},
        Access{"st.global.v4.b32", "[l], {wwww}", 16}}) {
    expectFault({opcode, form, bytes}, "half of itself too high", 64 + bytes / 2, "misaligned");
    expectFault({opcode, form, bytes}, "at the end", kImage, "outside every allocation");
  }
  for (const auto& [opcode, form, bytes] :
       {Access{"ld.shared.b16", "h = [w]", 2}, Access{"ld.shared.f32", "w = [w]", 4},
        Access{"ld.shared.v4.b32", "{wwww} = [w]", 16}, Access{"st.shared.b16", "[w], h", 2},
        Access{"st.shared.b32", "[w], w", 4}, Access{"st.shared.v4.b32", "[w], {wwww}", 16}}) {
    expectFault({opcode, form, bytes}, "half of itself too high", 64 + bytes / 2, "misaligned");
    expectFault({opcode, form, bytes}, "at the end", kImage, "are outside the block's 1024");
    expectFault({opcode, form, bytes}, "before the start", 0u - bytes, "are outside the block's 1024");
  }
}

}  // namespace

void checkMemoryOpcodes() {
  checkLoads();
  checkStores();
  checkFaults();
}

}  // namespace tilewise::ptx
