// Arithmetic of float32. PTX ISA, "Floating-Point Instructions": rounded to nearest, ties to even; denormals count, but
// for .ftz; a result that is no number is 0x7fffffff. Reader: whoever adds one.
#include <cmath>

#include "families.h"
#include "formats.h"
#include "scalars.h"

namespace tilewise::ptx {
namespace {

constexpr uint64_t kSign = 0x80000000;

struct FloatRow {
  const char *opcode, *form;
  double (*of)(double a, double b, double c);  // whose rounding to float32 is the result
  bool isApproximate = false;
};

double sum(double a, double b, double) { return a + b; }
double difference(double a, double b, double) { return a - b; }
double product(double a, double b, double) { return a * b; }
double quotient(double a, double b, double) { return a / b; }
double reciprocal(double a, double, double) { return 1 / a; }
// Zero has a sign: +0 is above -0. Of a number and no number, the number.
double most(double a, double b, double) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) ? b : a;
  if (a == 0 && b == 0) return std::signbit(a) && std::signbit(b) ? -0.0 : 0.0;
  return a < b ? b : a;
}
double reciprocalFlushed(double a, double, double) { return flush(1 / flush(a)); }
double power(double a, double, double) { return std::exp2(a); }
double powerFlushed(double a, double, double) { return flush(std::exp2(flush(a))); }
double logarithmFlushed(double a, double, double) { return std::log2(flush(a)); }

// Beside the borders of float32: whole powers down to the least denormal and out of range, and fractions of them.
Bits exponents() {
  Bits values = kFloats;
  for (const double x :
       {1.0,    2.0,    10.0, 127.0, 128.0, 129.0, -1.0,    -24.0,  -125.0, -126.0, -127.0, -148.0, -149.0,
        -151.0, -200.0, 0.5,  0.75,  -0.1,  3.3,   -17.625, 100.01, 127.99, -125.5, -126.5, 1e-6}) {
    values.push_back(encode(x));
  }
  return values;
}

// Bits only, so that no NaN changes.
void checkSigns() {
  expectScalar({"abs.f32", "w = w", [](const Bits& bits) { return bits[0] % kSign; }, {kFloats}});
  expectScalar({"neg.f32", "w = w", [](const Bits& bits) { return (bits[0] + kSign) % (2 * kSign); }, {kFloats}});
  // The sign of the first, all else of the second.
  const auto withSign = [](const Bits& bits) { return bits[0] / kSign * kSign + bits[1] % kSign; };
  expectScalar({"copysign.f32", "w = w, w", withSign, {kFloats, kFloats}});
}

// Rounded once.
void checkSingleRounding() {
  // (1 + 2^-23)^2 - (1 + 2^-22) = 2^-46.
  const auto expected = [](const Bits& bits) { return uint64_t(bits[2] == 0 ? 0x3f800002 : 0x28800000); };
  expectScalar({"fma.rn.f32", "w = w, w, w", expected, {{0x3f800001}, {0x3f800001}, {0xbf800002, 0}}});
  // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24, between two float32, of which the lower one is even.
  const auto decided = [](const Bits& bits) { return uint64_t(bits[2] == 1 ? 0x3f801001 : 0x3f801000); };
  expectScalar({"fma.rn.f32", "w = w, w, w", decided, {{0x3f800800}, {0x3f800800}, {0, 0x80000000, 1, 0x80000001}}});
}

}  // namespace

void checkFloatOpcodes() {
  for (const FloatRow& row : std::vector<FloatRow>{
           {"add.f32", "w = w, w", sum},
           {"sub.f32", "w = w, w", difference},
           {"mul.f32", "w = w, w", product},
           {"div.rn.f32", "w = w, w", quotient},
           {"fma.rn.f32", "w = w, w, w", multiplyAdd},
           {"max.f32", "w = w, w", most},
           {"rcp.rn.f32", "w = w", reciprocal},
           {"rcp.approx.ftz.f32", "w = w", reciprocalFlushed, true},
           {"ex2.approx.f32", "w = w", power, true},
           {"ex2.approx.ftz.f32", "w = w", powerFlushed, true},
           {"lg2.approx.ftz.f32", "w = w", logarithmFlushed, true},
       }) {
    const size_t sources = lineOf(row.opcode, row.form).sources.size();
    const auto expected = [of = row.of](const Bits& bits) {
      double numbers[3] = {};
      for (size_t i = 0; i < bits.size(); ++i) numbers[i] = valueOf(bits[i]);
      return encode(of(numbers[0], numbers[1], numbers[2]));
    };
    expectScalar({row.opcode, row.form, expected, std::vector<Bits>(sources, sources == 1 ? exponents() : kFloats),
                  row.isApproximate});
  }
  checkSigns();
  checkSingleRounding();
}

}  // namespace tilewise::ptx
