// Rotation: cosine and sine of an angle in float64, to about 1e-14. Reader: whoever rotates by many angles.
// Plain arithmetic without branches, which compilers turn into vector instructions: the library's functions take 40 ns
// for a pair, and a row of queries has as many angles as pairs of numbers.
#pragma once

#include "platform.h"

namespace tilewise {

struct Rotation {
  double cosine, sine;
};

// Of angles up to this in magnitude: a million quarter turns are subtracted without rounding.
constexpr double kLargestAngle = 1.6e6;

TW_HOST_DEVICE Rotation rotationOf(double angle) {
  constexpr double kShift = 0x1.8p52;  // adding and taking it away leaves whole numbers
  constexpr double kQuartersPerRadian = 0.63661977236758134308;
  const double quarters = (angle * kQuartersPerRadian + kShift) - kShift;
  // Pi / 2 in pieces of 33 and 31 bits, whose multiples are exact, and the rest.
  const double x = ((angle - quarters * 0x1.921fb544p0) - quarters * 0x42d18469p-64) - quarters * 0x1.13198a2e03707p-65;
  // Taylor's series on an eighth of a turn to either side.
  const double z = x * x;
  double sine = 1 / 6227020800.0, cosine = -1 / 87178291200.0;
  sine = sine * z - 1 / 39916800.0;
  sine = sine * z + 1 / 362880.0;
  sine = sine * z - 1 / 5040.0;
  sine = sine * z + 1 / 120.0;
  sine = sine * z - 1 / 6.0;
  sine = sine * z * x + x;
  cosine = cosine * z + 1 / 479001600.0;
  cosine = cosine * z - 1 / 3628800.0;
  cosine = cosine * z + 1 / 40320.0;
  cosine = cosine * z - 1 / 720.0;
  cosine = cosine * z + 1 / 24.0;
  cosine = cosine * z - 1 / 2.0;
  cosine = cosine * z + 1;
  // Then the quarter turns, of which -2 to 2 are left: their cosine is 1, 0 or -1, and so is their sine.
  const double left = quarters - 4 * ((quarters * 0.25 + kShift) - kShift), most = left < 0 ? -left : left;
  const double cosineOfLeft = 1 - most, sineOfLeft = left * (2 - most);
  return {cosineOfLeft * cosine - sineOfLeft * sine, cosineOfLeft * sine + sineOfLeft * cosine};
}

}  // namespace tilewise
