// Arithmetic of integers, against numbers that do not wrap around. PTX ISA, "Integer Arithmetic Instructions".
#include <algorithm>

#include "exact.h"
#include "families.h"

namespace tilewise::ptx {
namespace {

Int sum(Int a, Int b, Int) { return a + b; }
Int difference(Int a, Int b, Int) { return a - b; }
// Of 64-bit numbers without a sign a product needs all 128 bits, of which the lower 64 are asked for: they may wrap.
__extension__ typedef unsigned __int128 Unsigned;
Int product(Int a, Int b, Int) { return Int(Unsigned(a) * Unsigned(b)); }
Int upperProduct(Int a, Int b, Int) { return floorDivide(a * b, powerOfTwo(32)); }
Int productAndSum(Int a, Int b, Int c) { return a * b + c; }
Int least(Int a, Int b, Int) { return std::min(a, b); }
Int most(Int a, Int b, Int) { return std::max(a, b); }
Int negative(Int a, Int, Int) { return -a; }
Int magnitude(Int a, Int, Int) { return a < 0 ? -a : a; }

// Rounded to zero; the remainder has the dividend's sign. The manual leaves division by zero to the machine, and GPUs
// give all ones, and the dividend as remainder.
Int quotient(Int a, Int b, Int) {
  if (b == 0) return -1;
  const Int magnitude = (a < 0 ? -a : a) / (b < 0 ? -b : b);
  return (a < 0) == (b < 0) ? magnitude : -magnitude;
}
Int remainder(Int a, Int b, Int) { return b == 0 ? a : a - quotient(a, b, 0) * b; }

}  // namespace

void checkIntegerOpcodes() {
  for (const ExactRow& row : std::vector<ExactRow>{
           {"add.s16", "h = h, h", sum},          {"add.s32", "w = w, w", sum},
           {"add.s64", "l = l, l", sum},          {"sub.s16", "h = h, h", difference},
           {"sub.s32", "w = w, w", difference},   {"sub.s64", "l = l, l", difference},
           {"mul.lo.s16", "h = h, h", product},   {"mul.lo.s32", "w = w, w", product},
           {"mul.lo.s64", "l = l, l", product},   {"mul.hi.s32", "w = w, w", upperProduct},
           {"mul.wide.u16", "w = h, h", product}, {"mul.wide.s32", "l = w, w", product},
           {"mul.wide.u32", "l = w, w", product}, {"mad.lo.s32", "w = w, w, w", productAndSum},
           {"div.s32", "w = w, w", quotient},     {"div.u32", "w = w, w", quotient},
           {"div.s64", "l = l, l", quotient},     {"rem.s32", "w = w, w", remainder},
           {"rem.u32", "w = w, w", remainder},    {"rem.s64", "l = l, l", remainder},
           {"min.s32", "w = w, w", least},        {"min.s64", "l = l, l", least},
           {"max.s32", "w = w, w", most},         {"max.u32", "w = w, w", most},
           {"max.s64", "l = l, l", most},         {"neg.s32", "w = w", negative},
           {"neg.s64", "l = l", negative},        {"abs.s32", "w = w", magnitude},
       }) {
    expectScalar(exact(row));
  }
}

}  // namespace tilewise::ptx
