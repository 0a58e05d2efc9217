// Conversions, exactly; approximations, within the error that the PTX ISA states.
#include <cmath>
#include <limits>

#include "values.h"

namespace tilewise::cuda::conformance {
namespace {

constexpr int kThreads = 128;

struct MathParams {
  const float* x;
  uint32_t* bf16s;  // two numbers each
  uint32_t* f16s;
  uint32_t* tf32s;
  float* exp2s;
  float* log2s;
  float* reciprocals;
  float* maxima;  // of a number and the next
  int count;      // even
};

__global__ void compute(const __grid_constant__ MathParams p) {
  for (int i = int(thread_index()); i < p.count; i += kThreads) {
    p.tf32s[i] = to_tf32(p.x[i]);
    p.exp2s[i] = exp2_approx(p.x[i]);
    p.log2s[i] = log2_approx(p.x[i]);
    p.reciprocals[i] = reciprocal_approx(p.x[i]);
    p.maxima[i] = max_f32(p.x[i], p.x[(i + 1) % p.count]);
    if (i % 2 != 0) continue;
    p.bf16s[i / 2] = pack2<bf16>(p.x[i], p.x[i + 1]);
    p.f16s[i / 2] = pack2<f16>(p.x[i], p.x[i + 1]);
  }
}

// A format by its description: the value that is nearest, found by scaling and rounding in float64.
struct Format {
  int fractionBits;
  int lowestExponent;   // of a normal number
  int highestExponent;
  bool tiesToEven;
};
constexpr Format kBf16{7, -126, 127, true}, kF16{10, -14, 15, true}, kTf32{10, -126, 127, false};

double nearest(const Format& format, float x) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), format.lowestExponent);
  const double scaled = std::ldexp(double(x), format.fractionBits - exponent);
  const double rounded = format.tiesToEven ? std::nearbyint(scaled) : std::round(scaled);
  const double value = std::ldexp(rounded, exponent - format.fractionBits);
  if (std::fabs(value) >= std::ldexp(1.0, format.highestExponent + 1)) {
    return std::copysign(std::numeric_limits<double>::infinity(), double(x));
  }
  return value;
}

double valueOf(const Format& format, uint32_t half) {
  const int exponentBits = 15 - format.fractionBits;
  const uint32_t exponent = half >> format.fractionBits & ((1u << exponentBits) - 1);
  const uint32_t fraction = half & ((1u << format.fractionBits) - 1);
  const double sign = half >> 15 != 0 ? -1 : 1;
  if (exponent == (1u << exponentBits) - 1) return fraction != 0 ? NAN : sign * INFINITY;
  const double significand = fraction + (exponent != 0 ? double(1u << format.fractionBits) : 0.0);
  return sign * std::ldexp(significand, std::max(int(exponent), 1) - 1 + format.lowestExponent - format.fractionBits);
}

bool isSame(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

std::vector<float> samples() {
  std::vector<float> x{0.f, -0.f, 1.f, -1.f, INFINITY, -INFINITY, NAN, 65504.f, 65519.f, 65520.f, -65520.f, 3.3e38f,
                       // ties between two neighbours, one below and one above them
                       1.00390625f, 1.01171875f, 1.00048828125f, 1.00146484375f, -1.00048828125f,
                       // float16 denormals, their ties and what is too small for them
                       0x1p-14f, 0x1.ffcp-15f, 0x1p-24f, 0x1p-25f, 0x1.8p-25f, 0x1.000002p-25f, 0x1p-26f, -0x3p-25f,
                       // float32's own
                       0x1p-126f, 0x1p-130f, -0x1.8p-128f, 0x1p-149f};
  uint32_t bits = 1;
  while (x.size() < 4096) {
    bits = bits * 1664525u + 1013904223u;
    // Half of them of moderate size, where formats differ most.
    const uint32_t exponent = x.size() % 2 != 0 ? bits >> 23 & 255 : 100 + (bits >> 23) % 45;
    x.push_back(floatOfBits((bits & 0x80000000) | exponent << 23 | (bits * 2654435761u & 0x7fffff)));
  }
  return x;
}

float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.f, x) : x; }

// PTX ISA, ex2: relative error up to 2^-22; denormals flushed.
bool isExp2(float x, float got) {
  const double want = std::exp2(double(flushed(x)));
  if (std::isnan(want)) return std::isnan(got);
  if (want < 0x1p-126) return got == 0 || std::fabs(got - want) <= want * 0x1p-22;
  if (want >= 0x1p128) return std::isinf(got);
  return std::fabs(got - want) <= want * 0x1p-22;
}
// PTX ISA, lg2: absolute error up to 2^-22 between 0.5 and 2, relative elsewhere.
bool isLog2(float x, float got) {
  const double want = std::log2(double(flushed(x)));
  if (!std::isfinite(want)) return std::isnan(want) ? std::isnan(got) : got == float(want);
  const double allowed = x > 0.5 && x < 2 ? 0x1p-22 : std::fabs(want) * 0x1p-22;
  return std::fabs(got - want) <= allowed;
}

// PTX ISA, rcp: an error up to 1 unit in the last place; denormals flushed.
bool isReciprocal(float x, float got) {
  const double want = 1 / double(flushed(x));
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return double(got) == want;
  if (std::fabs(want) < 0x1p-126) return got == 0 || std::fabs(got - want) <= std::fabs(want) * 0x1p-23;
  return std::fabs(got - want) <= std::fabs(want) * 0x1p-23;
}

// PTX ISA, max: the other one where one is NaN. C's fmax() gives NaN where one is signalling, as some samples are.
float maximum(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) ? b : a;
  return a > b ? a : b;
}

CONFORMANCE(math) {
  const auto x = samples();
  const size_t n = x.size();
  MathParams p{upload(x),
               allocate<uint32_t>(n / 2),
               allocate<uint32_t>(n / 2),
               allocate<uint32_t>(n),
               allocate<float>(n),
               allocate<float>(n),
               allocate<float>(n),
               allocate<float>(n),
               int(n)};
  launch(compute, {1, kThreads, 0}, p);
  const auto bf16s = download(p.bf16s, n / 2), f16s = download(p.f16s, n / 2), tf32s = download(p.tf32s, n);
  const auto exp2s = download(p.exp2s, n), log2s = download(p.log2s, n), maxima = download(p.maxima, n);
  const auto reciprocals = download(p.reciprocals, n);
  bool isBf16 = true, isF16 = true, isTf32 = true, areExp2s = true, areLog2s = true, areMaxima = true;
  bool areReciprocals = true;
  for (size_t i = 0; i < n; ++i) {
    const auto half = [&](const std::vector<uint32_t>& pairs) { return pairs[i / 2] >> (i % 2 * 16) & 0xffff; };
    isBf16 = isBf16 && isSame(valueOf(kBf16, half(bf16s)), nearest(kBf16, x[i]));
    isF16 = isF16 && isSame(valueOf(kF16, half(f16s)), nearest(kF16, x[i]));
    isTf32 = isTf32 && isSame(double(floatOfBits(tf32s[i])), nearest(kTf32, x[i]));
    areExp2s = areExp2s && isExp2(x[i], exp2s[i]);
    areLog2s = areLog2s && isLog2(x[i], log2s[i]);
    areReciprocals = areReciprocals && isReciprocal(x[i], reciprocals[i]);
    areMaxima = areMaxima && (isSame(maxima[i], maximum(x[i], x[(i + 1) % n])) || (maxima[i] == 0 && x[i] == 0));
  }
  report("cvt.rn.bf16x2", isBf16);
  report("cvt.rn.f16x2", isF16);
  report("cvt.rna.tf32", isTf32);
  report("ex2.approx.ftz within 2^-22", areExp2s);
  report("lg2.approx.ftz within 2^-22", areLog2s);
  report("rcp.approx.ftz within 2^-23", areReciprocals);
  report("max.f32 ignores one NaN", areMaxima);
}

}  // namespace
}  // namespace tilewise::cuda::conformance
