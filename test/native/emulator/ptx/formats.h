// Rounding to binary formats and float32 arithmetic, by the arithmetic of float64 and from the formats' definitions
// alone. PTX ISA, "Floating-Point Comparisons" and "Rounding Modifiers"; IEEE 754. Reader: tests of opcodes with float
// operands.
#pragma once

#include <cstdint>

namespace tilewise::ptx {

enum class Ties { even, away };

// With a sign: bits of exponent and of fraction.
struct Format {
  int exponent, fraction;
};
constexpr Format kFloat32{8, 23}, kFloat16{5, 10}, kBfloat16{8, 7}, kTf32{8, 10};

// The number that bits stand for.
double valueOf(uint64_t bits, Format format = kFloat32);
// The nearest of a format. No number gives all ones but the sign, the machine's own NaN.
uint64_t encode(double value, Format format = kFloat32, Ties ties = Ties::even);

// Denormals of float32 become zeros of their sign.
double flush(double value);

// a * b + c of float32 so that one rounding more gives what one rounding in all does: to odd, where it is inexact.
double multiplyAdd(double a, double b, double c);

}  // namespace tilewise::ptx
