// Formats from their definitions.
#include "formats.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tilewise::ptx {
namespace {

int biasOf(Format format) { return (1 << (format.exponent - 1)) - 1; }

}  // namespace

double valueOf(uint64_t bits, Format format) {
  const uint64_t fraction = bits % (uint64_t(1) << format.fraction);
  const auto exponent = int(bits >> format.fraction) % (1 << format.exponent);
  const double sign = bits >> (format.exponent + format.fraction) & 1 ? -1 : 1;
  if (exponent == (1 << format.exponent) - 1) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  const double whole = double(fraction) + (exponent > 0 ? std::ldexp(1.0, format.fraction) : 0);
  return sign * std::ldexp(whole, (exponent > 0 ? exponent : 1) - biasOf(format) - format.fraction);
}

uint64_t encode(double value, Format format, Ties ties) {
  const uint64_t infinity = ((uint64_t(1) << format.exponent) - 1) << format.fraction;
  if (std::isnan(value)) return (uint64_t(1) << (format.exponent + format.fraction)) - 1;
  const uint64_t sign = uint64_t(std::signbit(value)) << (format.exponent + format.fraction);
  const double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return sign | infinity;
  const int least = 1 - biasOf(format);
  const int exponent = magnitude == 0 ? least : std::max(std::ilogb(magnitude), least);
  const double places = std::ldexp(magnitude, format.fraction - exponent);
  const double whole = std::floor(places), rest = places - whole;
  const bool isOdd = std::fmod(whole, 2) == 1;
  const bool goesUp = rest > 0.5 || (rest == 0.5 && (ties == Ties::away || isOdd));
  // A carry goes on into the exponent, as it should. The leading one of a normal number is its exponent's first step.
  const uint64_t bits = (uint64_t(exponent - least) << format.fraction) + uint64_t(whole) + goesUp;
  return sign | (bits < infinity ? bits : infinity);
}

double flush(double value) { return std::fabs(value) < 0x1p-126 ? std::copysign(0, value) : value; }

double multiplyAdd(double a, double b, double c) {
  const double product = a * b;  // exact: 48 bits
  const double sum = product + c;
  if (!std::isfinite(sum)) return sum;
  const double part = sum - product, error = (product - (sum - part)) + (c - part);
  int exponent = 0;
  const double places = std::ldexp(std::frexp(sum, &exponent), 53);
  const bool isOdd = std::fmod(places, 2) != 0;
  return error == 0 || isOdd ? sum : std::nextafter(sum, error > 0 ? HUGE_VAL : -HUGE_VAL);
}

}  // namespace tilewise::ptx
