// Tensor cores: ldmatrix, stmatrix and mma.sync, against whole matrices of float64. PTX ISA, "Warp Level Matrix
// Instructions", whose figures of fragments are restated here. Values are such that every order of the sums gives the
// same bits. Reader: whoever adds a shape or a type.
#include <cmath>

#include "../../check.h"
#include "../expect.h"
#include "families.h"
#include "formats.h"
#include "line.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kLanes = 32, kRowBytes = 16, kRows = 16, kColumns = 8;
const char* const kProductForm = "{wwww} = {wwww}, {ww}, {wwww}";

// Lane 8m + r gives the address of row r of matrix m. Of matrix m, lane t gets in register m elements 2 (t % 4) and the
// next of row t / 4; of the transposed matrix with .trans.
void expectMatrices(const char* opcode, bool isTransposed) {
  Line line = lineOf(opcode, "{wwww} = [w]", {"%d0", "%d1", "%d2", "%d3", "%a0+-32"});
  line.shared.resize(1024);
  for (uint32_t i = 0; i < line.shared.size(); ++i) line.shared[i] = uint8_t(0x47 * i + i / 256);
  const auto rowAt = [](uint32_t lane) { return 32 + lane * 11 % kLanes * kRowBytes; };
  line.operands = {bitsOf(kLanes, rowAt)};
  const Outcome outcome = run(line);
  const auto elementOf = [&](uint32_t matrix, uint32_t row, uint32_t column) {
    const uint32_t at = rowAt(8 * matrix + row) - 32 + column * 2;
    return line.shared[at] + line.shared[at + 1] * 256u;
  };
  for (uint32_t m = 0; m < 4; ++m) {
    expectBits(opcode, outcome, m, bitsOf(kLanes, [&](uint32_t t) {
                 const uint32_t i = t / 4, j = t % 4 * 2;
                 return isTransposed ? elementOf(m, j, i) + elementOf(m, j + 1, i) * 65536u
                                     : elementOf(m, i, j) + elementOf(m, i, j + 1) * 65536u;
               }));
  }
  line.operands[0][17] = 40;
  const std::string error = run(line).error;
  CHECK(emulator::contains(error, "lane 17") && emulator::contains(error, "misaligned"), "%s", error.c_str());
}

// The same places for what lanes give.
void expectStores() {
  const char* const opcode = "stmatrix.sync.aligned.m8n8.x4.shared.b16";
  const auto rowAt = [](uint32_t lane) { return 32 + lane * 11 % kLanes * kRowBytes; };
  for (const char* words : {"lazy", "races"}) {
    Line line = lineOf(opcode, "[w], {wwww}", {"%a0+-32", "%a1", "%a2", "%a3", "%a4"});
    line.words = words;
    line.shared.resize(1024, 0x5a);
    line.operands = {bitsOf(kLanes, rowAt)};
    std::vector<uint8_t> expected = line.shared;
    for (uint32_t m = 0; m < 4; ++m) {
      const auto valueOf = [=](uint32_t t) { return 0x01030507 * (t + 1) + 0x2000000 * m; };
      line.operands.push_back(bitsOf(kLanes, valueOf));
      for (uint32_t t = 0; t < kLanes; ++t) {
        for (uint32_t byte = 0; byte < 4; ++byte) {
          expected[rowAt(8 * m + t / 4) - 32 + t % 4 * 4 + byte] = uint8_t(valueOf(t) >> (8 * byte));
        }
      }
    }
    const Outcome outcome = run(line);
    CHECK(outcome.error.empty(), "%s", outcome.error.c_str());
    expectBytes(opcode, outcome.shared, expected);
    line.operands[0][9] = 40;
    const std::string error = run(line).error;
    CHECK(emulator::contains(error, "lane 9") && emulator::contains(error, "misaligned"), "%s", error.c_str());
  }
}

// Element i of what lane t has of a, b and c, for 16-bit elements and for tf32.
struct Place {
  uint32_t row, column;
};
Place placeInA16(uint32_t t, uint32_t i) {
  return {t / 4 + (i / 2 % 2 == 1 ? 8 : 0), t % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0)};
}
Place placeInB16(uint32_t t, uint32_t i) { return {t % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0), t / 4}; }
Place placeInA32(uint32_t t, uint32_t i) { return {t / 4 + (i % 2 == 1 ? 8 : 0), t % 4 + (i >= 2 ? 4 : 0)}; }
Place placeInB32(uint32_t t, uint32_t i) { return {t % 4 + (i == 1 ? 4 : 0), t / 4}; }
Place placeInC(uint32_t t, uint32_t i) { return {t / 4 + (i >= 2 ? 8 : 0), t % 4 * 2 + i % 2}; }

struct Product {
  const char* opcode;
  Format format;
  uint32_t depth;
  Place (*ofA)(uint32_t t, uint32_t i);
  Place (*ofB)(uint32_t t, uint32_t i);
};

struct Matrices {
  double a[kRows][16], b[16][kColumns], c[kRows][kColumns];
};

uint64_t bitsIn(double value, Format format) {
  return encode(value, format) << (format.exponent == kTf32.exponent && format.fraction == kTf32.fraction ? 13 : 0);
}

// One register: two elements of 16 bits, the first in the lower half, or one of tf32.
template <class Element>
Bits fragment(const Product& product, uint32_t r, Element elementOf) {
  return bitsOf(kLanes, [&](uint32_t t) {
    if (product.depth == 8) return bitsIn(elementOf(t, r), product.format);
    return bitsIn(elementOf(t, 2 * r), product.format) | bitsIn(elementOf(t, 2 * r + 1), product.format) << 16;
  });
}

void expectProduct(const Product& product, const Matrices& in, const char* what) {
  Line line = lineOf(product.opcode, kProductForm);
  for (uint32_t r = 0; r < 4; ++r) {
    line.operands.push_back(fragment(product, r, [&](uint32_t t, uint32_t i) {
      const Place place = product.ofA(t, i);
      return in.a[place.row][place.column];
    }));
  }
  for (uint32_t r = 0; r < 2; ++r) {
    line.operands.push_back(fragment(product, r, [&](uint32_t t, uint32_t i) {
      const Place place = product.ofB(t, i);
      return in.b[place.row][place.column];
    }));
  }
  for (uint32_t r = 0; r < 4; ++r) {
    line.operands.push_back(bitsOf(kLanes, [&](uint32_t t) {
      const Place place = placeInC(t, r);
      return encode(in.c[place.row][place.column]);
    }));
  }
  // Once more into the registers of c.
  line.text +=
      "\n" + lineOf(product.opcode, kProductForm,
                    {"%a6", "%a7", "%a8", "%a9", "%a0", "%a1", "%a2", "%a3", "%a4", "%a5", "%a6", "%a7", "%a8", "%a9"})
                 .text;
  for (uint32_t r = 0; r < 4; ++r)
    line.text += "\nmov.b32 %d" + std::to_string(4 + r) + ", %a" + std::to_string(6 + r) + ";";
  line.results = "wwwwwwww";
  Outcome outcome = run(line);
  // Which NaN an infinite sum without a value gives is left open.
  for (Bits& bits : outcome.results) {
    for (uint64_t& sum : bits) sum = std::isnan(valueOf(sum)) ? encode(NAN) : sum;
  }
  for (uint32_t r = 0; r < 8; ++r) {
    expectBits(std::string(product.opcode) + ", " + what, outcome, r, bitsOf(kLanes, [&](uint32_t t) {
                 const Place place = placeInC(t, r % 4);
                 double sum = in.c[place.row][place.column];
                 for (uint32_t k = 0; k < product.depth; ++k) sum += in.a[place.row][k] * in.b[k][place.column];
                 return encode(sum);
               }));
  }
}

// Of elements by their row and column.
template <class A, class B, class C>
Matrices matricesOf(A a, B b, C c) {
  Matrices in;
  for (int i = 0; i < int(kRows); ++i) {
    for (int k = 0; k < 16; ++k) in.a[i][k] = a(i, k);
    for (int j = 0; j < int(kColumns); ++j) in.c[i][j] = c(i, j);
  }
  for (int k = 0; k < 16; ++k) {
    for (int j = 0; j < int(kColumns); ++j) in.b[k][j] = b(k, j);
  }
  return in;
}

void checkProducts() {
  const Product products[] = {
      {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", kBfloat16, 16, placeInA16, placeInB16},
      {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", kFloat16, 16, placeInA16, placeInB16},
      {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", kTf32, 8, placeInA32, placeInB32},
  };
  // Whole numbers and fractions of few bits, all different enough that no two places can be exchanged unnoticed.
  const Matrices few = matricesOf([](int i, int k) { return (i * 37 + k * 11) % 61 - 30; },
                                  [](int k, int j) { return ((k * 29 + j * 7) % 53 - 26) * 0.125; },
                                  [](int i, int j) { return (i * 8 + j) * 0.25 - 1000; });
  // Denormals of float16, large numbers, and what cancels.
  const Matrices borders =
      matricesOf([](int i, int k) { return k % 2 == 0 ? 0x1p-24 * (i + 1) : 0x1p14; },
                 [](int k, int j) { return k % 2 == 0 ? 0x1p10 : (k % 4 == 1 ? 1 : -1) * 0x1p-14 * (j + 1); },
                 [](int i, int j) { return i == j ? 0x1p20 : 0.0; });
  // One infinity in a, in b and in c.
  const double infinity = HUGE_VAL;
  const Matrices infinite = matricesOf([=](int i, int k) { return i == 3 && k == 5 ? infinity : 1.0; },
                                       [=](int k, int j) { return k == 2 && j == 6 ? -infinity : 2.0; },
                                       [=](int i, int j) { return i == 9 && j == 1 ? infinity : -4.0; });
  for (const Product& product : products) {
    expectProduct(product, few, "few bits");
    expectProduct(product, borders, "borders");
    expectProduct(product, infinite, "infinities");
  }
  Line unrounded = lineOf(products[2].opcode, kProductForm);
  for (int i = 0; i < 10; ++i) unrounded.operands.push_back(Bits(kLanes, i == 5 ? 0x3f801000 : 0x3f800000));
  const std::string error = run(unrounded).error;
  CHECK(emulator::contains(error, "an operand that was not rounded to tf32"), "%s", error.c_str());
}

// .aligned: by all lanes.
void checkAligned() {
  for (Line line : {lineOf("ldmatrix.sync.aligned.m8n8.x4.shared.b16", "{wwww} = [w]"),
                    lineOf("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "{wwww} = [w]"),
                    lineOf("stmatrix.sync.aligned.m8n8.x4.shared.b16", "[w], {wwww}"),
                    lineOf("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", kProductForm)}) {
    for (size_t i = 0; i < line.sources.size(); ++i) line.operands.push_back(Bits(kLanes, 0));
    line.text = "@!%a" + std::to_string(line.sources.size()) + " bra OVER;\n" + line.text + "\nOVER:";
    line.sources += "p";
    line.operands.push_back(bitsOf(kLanes, [](uint32_t lane) { return lane != 31; }));
    line.shared.resize(1024);
    const std::string error = run(line).error;
    CHECK(emulator::contains(error, "some lanes of the warp are missing, there are 7fffffff"), "%s", error.c_str());
  }
}

}  // namespace

void checkMatrixOpcodes() {
  expectMatrices("ldmatrix.sync.aligned.m8n8.x4.shared.b16", false);
  expectMatrices("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", true);
  expectStores();
  checkProducts();
  checkAligned();
}

}  // namespace tilewise::ptx
