// Arithmetic of float32 that has an instruction of its own, with the machine's rules for denormals and NaN.
// Results are rounded to nearest where the PTX ISA allows an error of 2 units in the last place.
// Reader: whoever checks ex2, lg2, rcp or max.
#pragma once

#include <cmath>

namespace tilewise::emulator {

inline float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.f, x) : x; }
inline float exp2Flushed(float x) { return flushed(std::exp2(flushed(x))); }
inline float log2Flushed(float x) { return std::log2(flushed(x)); }
inline float reciprocalFlushed(float x) { return flushed(1 / flushed(x)); }
// PTX ISA, max: the other one where one is NaN, signalling or not, which is not what fmax() of C does; +0 is above -0.
inline float maximum(float a, float b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

}  // namespace tilewise::emulator
