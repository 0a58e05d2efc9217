// cvt and cvta. PTX ISA, "Data Movement and Conversion Instructions": integers are cut or extended by their sign, .rn
// rounds to nearest and ties to even, .rna ties away from zero. Reader: whoever adds one.
#include <cmath>

#include "exact.h"
#include "families.h"
#include "formats.h"

namespace tilewise::ptx {
namespace {

Int same(Int a, Int, Int) { return a; }

void checkIntegers() {
  for (const ExactRow& row : std::vector<ExactRow>{
           {"cvt.u16.u32", "h = w", same},
           {"cvt.u16.u64", "h = l", same},
           {"cvt.u32.u16", "w = h", same},
           {"cvt.u32.u64", "w = l", same},
           {"cvt.u64.u16", "l = h", same},
           {"cvt.u64.u32", "l = w", same},
           {"cvt.s64.s32", "l = w", same},
           {"cvt.s64.s32", "l = l", same},  // of a wider register, the lower bits
       }) {
    expectScalar(exact(row));
  }
  // Whole numbers of up to 31 bits, with ties between float32 that are even and odd.
  Bits values = kEdges32;
  for (const uint64_t n : {0x01000001, 0x01000002, 0x01000003, 0x7fffffbf, 0x7fffffc0, 0x40000040, 0x400000c0}) {
    values.push_back(n);
    values.push_back((uint64_t(1) << 32) - n);
  }
  const auto signedNumber = [](const Bits& bits) { return encode(double(numberOf(bits[0], 32, true))); };
  expectScalar({"cvt.rn.f32.s32", "w = w", signedNumber, {values}});
  expectScalar({"cvt.rn.f32.u16", "w = h", [](const Bits& bits) { return encode(double(bits[0])); }, {kEdges16}});
}

// float32 around everything that rounding to a format decides: both neighbours of each value, halves between them, and
// what is beside those halves.
Bits around(Format format) {
  Bits values = kFloats;
  const int dropped = kFloat32.fraction - format.fraction;
  const uint64_t step = uint64_t(1) << dropped;
  for (const double x : {1.0, 1.984375, -3.0, 0x1p-14, 0x1p-24, 0x1p-25, 0x1.8p-24, 0x1.ffcp-15, 0x1p-133, 0x1.8p-133,
                         65504.0, 65519.0, 65520.0, 65536.0, -65520.0, 0x1.fep127, 0x1.ffp127, 0x1.ffcp127}) {
    const uint64_t bits = encode(x) / step * step;
    for (const uint64_t rest :
         {uint64_t(0), uint64_t(1), step / 2 - 1, step / 2, step / 2 + 1, step - 1, step + step / 2}) {
      values.push_back(bits + rest);
    }
  }
  return values;
}

// The first source becomes the upper half.
void expectPair(const char* opcode, Format format) {
  const auto expected = [=](const Bits& bits) {
    return encode(valueOf(bits[0]), format) << 16 | encode(valueOf(bits[1]), format);
  };
  const Bits values = around(format);
  expectScalar({opcode, "w = w, w", expected, {values, {0x3f800000, 0xbf808000}}});
  expectScalar({opcode, "w = w, w", expected, {{0xc0000000}, values}});
}

}  // namespace

void checkConversionOpcodes() {
  checkIntegers();
  expectPair("cvt.rn.bf16x2.f32", kBfloat16);
  expectPair("cvt.rn.f16x2.f32", kFloat16);
  // In the upper bits of a float32; the machine's own NaN is float32's.
  const auto tf32 = [](const Bits& bits) {
    const double value = valueOf(bits[0]);
    return std::isnan(value) ? uint64_t(0x7fffffff) : encode(value, kTf32, Ties::away) << 13;
  };
  expectScalar({"cvt.rna.tf32.f32", "w = w", tf32, {around(kTf32)}});
  // Generic addresses are those of global memory; that of a parameter is tested where one is read.
  for (const char* opcode : {"cvta.to.global.u64", "cvta.param.u64"}) {
    expectScalar({opcode, "l = l", [](const Bits& bits) { return bits[0]; }, {kEdges64}});
  }
}

}  // namespace tilewise::ptx
