// setp. PTX ISA, "Comparison and Selection Instructions": of float32, no comparison holds for NaN but those that end in
// u, and nan, which hold for any; -0 equals +0. Reader: whoever adds one.
#include <cmath>

#include "exact.h"
#include "families.h"
#include "formats.h"

namespace tilewise::ptx {
namespace {

Int equal(Int a, Int b, Int) { return a - b == 0; }
Int notEqual(Int a, Int b, Int) { return a - b != 0; }
Int less(Int a, Int b, Int) { return b - a > 0; }
Int lessEqual(Int a, Int b, Int) { return b - a >= 0; }
Int greater(Int a, Int b, Int) { return a - b > 0; }
Int greaterEqual(Int a, Int b, Int) { return a - b >= 0; }

// Which of the four ways that two float32 may stand to each other satisfy it.
struct FloatComparison {
  const char* opcode;
  bool less, equal, greater, unordered;
};

void expectComparison(const FloatComparison& row) {
  const auto expected = [=](const Bits& bits) {
    const double a = valueOf(bits[0]), b = valueOf(bits[1]);
    if (std::isnan(a) || std::isnan(b)) return row.unordered;
    return a < b ? row.less : a > b ? row.greater : row.equal;
  };
  expectScalar({row.opcode, "p = w, w", expected, {kFloats, kFloats}});
}

}  // namespace

void checkComparisonOpcodes() {
  for (const ExactRow& row : std::vector<ExactRow>{
           {"setp.eq.s16", "p = h, h", equal},        {"setp.ne.s16", "p = h, h", notEqual},
           {"setp.lt.u16", "p = h, h", less},         {"setp.gt.u16", "p = h, h", greater},
           {"setp.eq.b32", "p = w, w", equal},        {"setp.eq.s32", "p = w, w", equal},
           {"setp.ne.s32", "p = w, w", notEqual},     {"setp.lt.s32", "p = w, w", less},
           {"setp.le.s32", "p = w, w", lessEqual},    {"setp.gt.s32", "p = w, w", greater},
           {"setp.ge.s32", "p = w, w", greaterEqual}, {"setp.ne.u32", "p = w, w", notEqual},
           {"setp.lt.u32", "p = w, w", less},         {"setp.gt.u32", "p = w, w", greater},
           {"setp.ge.u32", "p = w, w", greaterEqual}, {"setp.eq.s64", "p = l, l", equal},
           {"setp.ne.s64", "p = l, l", notEqual},     {"setp.lt.s64", "p = l, l", less},
           {"setp.le.s64", "p = l, l", lessEqual},    {"setp.gt.s64", "p = l, l", greater},
           {"setp.ge.s64", "p = l, l", greaterEqual}, {"setp.lt.u64", "p = l, l", less},
           {"setp.ge.u64", "p = l, l", greaterEqual}, {"setp.ne.b32", "p = w, w", notEqual},
           {"setp.eq.b64", "p = l, l", equal},
       }) {
    expectScalar(exact(row));
  }
  for (const FloatComparison& row : std::vector<FloatComparison>{
           {"setp.eq.f32", false, true, false, false},
           {"setp.lt.f32", true, false, false, false},
           {"setp.le.f32", true, true, false, false},
           {"setp.gt.f32", false, false, true, false},
           {"setp.ge.f32", false, true, true, false},
           {"setp.neu.f32", true, false, true, true},
           {"setp.leu.f32", true, true, false, true},
           {"setp.gtu.f32", false, false, true, true},
           {"setp.geu.f32", false, true, true, true},
           {"setp.nan.f32", false, false, false, true},
       }) {
    expectComparison(row);
  }
}

}  // namespace tilewise::ptx
