// Matrices, their places, and the text around a product.
#include "wgmma_line.h"

#include <cstdio>

#include "../../../../emulator/access.h"
#include "formats.h"

namespace tilewise::ptx {
namespace {

double valueOfA(uint32_t row, uint32_t k) { return double((row * 37 + k * 11) % 61) - 30; }
double valueOfB(uint32_t k, uint32_t column) { return (double((k * 29 + column * 7) % 53) - 26) * 0.125; }

// Register r of what thread t of the warpgroup has of d.
uint32_t rowInD(uint32_t t, uint32_t r) { return t / 32 * 16 + t % 32 / 4 + (r / 2 % 2 == 1 ? 8 : 0); }
uint32_t columnInD(uint32_t t, uint32_t r) { return r / 4 * 8 + t % 4 * 2 + r % 2; }

Format formatOf(const Wgmma& wgmma) { return wgmma.type == "bf16" ? kBfloat16 : kFloat16; }

std::vector<uint8_t> sharedFor(const Wgmma& wgmma) {
  std::vector<uint8_t> shared(kWgmmaBytes);
  const auto put = [&](uint32_t place, double value) {
    const uint64_t bits = encode(value, formatOf(wgmma));
    shared[place] = uint8_t(bits);
    shared[place + 1] = uint8_t(bits >> 8);
  };
  for (uint32_t k = 0; k < kDepth; ++k) {
    for (uint32_t row = 0; row < wgmma.a().extent; ++row) put(wgmma.a().place(row, k), valueOfA(row, k));
    for (uint32_t column = 0; column < wgmma.n; ++column) put(wgmma.b().place(column, k), valueOfB(k, column));
  }
  return shared;
}

// Register r of what thread t has of a.
uint64_t fragmentOfA(const Wgmma& wgmma, uint32_t t, uint32_t r) {
  const uint32_t row = t / 32 * 16 + t % 32 / 4 + (r % 2 == 1 ? 8 : 0), k = t % 4 * 2 + (r >= 2 ? 8 : 0);
  return encode(valueOfA(row, k), formatOf(wgmma)) | encode(valueOfA(row, k + 1), formatOf(wgmma)) << 16;
}

std::string nameOf(const char* kind, uint32_t i) { return kind + std::to_string(i); }

}  // namespace

uint32_t Layout::place(uint32_t mn, uint32_t k) const {
  const uint32_t inside = isMnMajor ? k % 8 * 16 + mn % 8 * 2 : mn % 8 * 16 + k % 8 * 2;
  return start + mn / 8 * stride() + k / 8 * leading() + inside;
}

uint64_t Layout::descriptor() const {
  return (emulator::kSharedBase + start) / 16 | uint64_t(leading() / 16) << 16 | uint64_t(stride() / 16) << 32;
}

std::string Wgmma::opcode() const {
  return "wgmma.mma_async.sync.aligned.m64n" + std::to_string(n) + "k16.f32." + type + "." + type;
}

Line Wgmma::line() const {
  const uint32_t sources = isAInRegisters ? 6 : 3;
  std::vector<std::string> names;
  for (uint32_t r = 0; r < n / 2; ++r) names.push_back(nameOf("%d", r));
  for (uint32_t i = 0; i < sources; ++i) names.push_back(nameOf("%a", i));
  if (!isAInRegisters) names.push_back(std::to_string(transposeA));
  names.push_back(std::to_string(transposeB));
  const std::string sums = "{w*" + std::to_string(n / 2) + "} = ";
  Line line = lineOf(opcode(), sums + (isAInRegisters ? "{wwww}, l, p, 1, 1, i" : "l, l, p, 1, 1, i, i"), names);
  line.threads = kWarpgroup;
  line.shared = sharedFor(*this);
  if (isAInRegisters) {
    for (uint32_t r = 0; r < 4; ++r) {
      line.operands.push_back(bitsOf(kWarpgroup, [&](uint32_t t) { return fragmentOfA(*this, t, r); }));
    }
  } else {
    line.operands.push_back(Bits(kWarpgroup, a().descriptor()));
  }
  line.operands.push_back(Bits(kWarpgroup, b().descriptor()));
  line.operands.push_back(Bits(kWarpgroup, 1));
  line.sources += "w";
  line.operands.push_back(bitsOf(kWarpgroup, [](uint32_t t) { return encode(startOf(t, 0)); }));
  return line;
}

std::string startSums(const Line& line) {
  const std::string start = nameOf("%a", uint32_t(line.sources.find('w', line.sources.find('p'))));
  std::string text;
  for (uint32_t r = 0; r < line.results.size(); ++r) {
    char number[16];
    std::snprintf(number, sizeof number, "0f%08llX", static_cast<unsigned long long>(encode(startOf(0, r))));
    text += "add.f32 " + nameOf("%d", r) + ", " + start + ", " + number + ";\n";
  }
  return text;
}

const std::string kPrepare = "fence.proxy.async.shared::cta;\nbar.sync 0;\n";
std::string fence() { return lineOf("wgmma.fence.sync.aligned", "").text + "\n"; }
std::string commit() { return lineOf("wgmma.commit_group.sync.aligned", "").text + "\n"; }
std::string waitFor(uint32_t pending) {
  return lineOf("wgmma.wait_group.sync.aligned", "i", {std::to_string(pending)}).text + "\n";
}

Line whole(Line line) {
  line.text = startSums(line) + kPrepare + fence() + line.text + "\n" + commit() + waitFor(0);
  return line;
}

double startOf(uint32_t t, uint32_t r) { return t * 4.0 + r; }

double productOf(uint32_t t, uint32_t r) {
  double sum = 0;
  for (uint32_t k = 0; k < kDepth; ++k) sum += valueOfA(rowInD(t, r), k) * valueOfB(k, columnInD(t, r));
  return sum;
}

void expectSums(const std::string& what, const Outcome& outcome, const Wgmma& wgmma, double keep, double times) {
  for (uint32_t r = 0; r < wgmma.n / 2; ++r) {
    expectBits(what, outcome, r,
               bitsOf(kWarpgroup, [&](uint32_t t) { return encode(keep * startOf(t, r) + times * productOf(t, r)); }));
  }
}

}  // namespace tilewise::ptx
