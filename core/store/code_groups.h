// Code groups: how numbers that share a scale become codes, and codes of more bits those of fewer. Reader: whoever
// writes codes (core/op/encode.h). In float32, without a product that a sum follows, so that every processor makes the
// same codes. Idea: KIVI (arXiv 2402.02750), whose groups of equal numbers divide by zero; here their scale is 0.
#pragma once

#include <cmath>

#include "../base/dtype.h"

namespace tilewise {

TW_HOST_DEVICE float codeLevels(int32_t bits) { return float((1 << bits) - 1); }

// The code of a number that lies `x` above the one whose code is `zero`, of numbers that are `step` apart from code to
// code: the nearest, ties to even. NaN: 0.
TW_HOST_DEVICE uint32_t codeAt(float x, float step, float zero, float levels) {
  constexpr float kRound = 12582912, kWhole = 8388608;  // 1.5 * 2^23 and 2^23: sums have no room for a fraction
  return detail::bitsOf(smaller(larger(0.0f, (x / step + kRound) - kRound + zero), levels) + kWhole) & 255;
}

// What a group has: a number is code * scale + min.
struct GroupScale {
  static constexpr float kSymmetricZero = 128;

  float scale = 0, min = NAN;  // a group with a number that is not finite
  float origin = 0, zero = 0, step = INFINITY;  // see codeAt()

  // Of a group from `least` to `most`. `flaw`: the sum of its numbers times 0, which is 0 unless one is not finite.
  TW_HOST_DEVICE static GroupScale between(float least, float most, float flaw, int32_t bits) {
    const float scale = (most - least) / codeLevels(bits);
    return isWhole(scale, flaw) ? kept(scale, least, false) : GroupScale{};
  }
  // One scale for both signs, of 8 bits; `most`: the largest absolute number.
  TW_HOST_DEVICE static GroupScale symmetric(float most, float flaw) {
    const float scale = most / 127;
    return isWhole(scale, flaw) ? kept(scale, -kSymmetricZero * scale, true) : GroupScale{};
  }
  // Of a scale and a minimum that were made so. Equal numbers all become code `zero`.
  TW_HOST_DEVICE static GroupScale kept(float scale, float min, bool isSymmetric) {
    const float zero = isSymmetric && min <= 0 ? kSymmetricZero : 0;
    return {scale, min, isSymmetric ? 0 : min, zero, scale > 0 ? scale : INFINITY};
  }

  TW_HOST_DEVICE uint32_t codeOf(float x, float levels) const { return codeAt(x - origin, step, zero, levels); }

 private:
  TW_HOST_DEVICE static bool isWhole(float scale, float flaw) { return flaw == 0 && scale < INFINITY; }
};

// A code of fewer bits, by way of those between: levels nest, 255 = 17 * 15 and 15 = 5 * 3. There are no ties.
TW_HOST_DEVICE uint32_t narrowedCode(uint32_t code, int32_t from, int32_t to) {
  if (from == 8 && to < 8) code = (2 * code + 17) / 34;
  return to == 2 && from > 2 ? (2 * code + 5) / 10 : code;
}
TW_HOST_DEVICE float narrowedScale(float scale, int32_t from, int32_t to) {
  return scale * (codeLevels(from) / codeLevels(to));
}

}  // namespace tilewise
