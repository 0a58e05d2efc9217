// exp, tanh, transposes and half conversions of one instruction set against float64, and its score rules against those
// of floats.
// An earlier exp with errors of 3e-6 passed every end-to-end test, so it is checked by itself.
#include <cfloat>
#include <cmath>
#include <initializer_list>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "../../../core/base/dtype.h"
#include "../../../core/base/softmax.h"
#include "../../../core/score/rules.h"
#include "../check.h"

namespace tilewise::cpu {
namespace {

#include TILEWISE_SIMD

#include "../../../cpu/simd/math.inl"
#include "../../../cpu/simd/lanes.inl"

template <class F>
float lane0(F&& f, float x) {
  float out[kLanes];
  store(out, f(splat(x)));
  return out[0];
}

void checkExp() {
  // A product that is not fused is rounded, and with it what is left of x after whole octaves.
  const bool isFused = lane0([](Vec v) { return mulAdd(v, v, splat(-1 - 0x1p-11f)); }, 1 + 0x1p-12f) != 0;
  const double perUnit = isFused ? 3e-9 : 6e-8;
  double worst = 0;
  for (double x = -87.3; x <= 0; x += 1.0 / 1021) {
    const float got = lane0([](Vec v) { return exp(v); }, float(x));
    const double error = std::fabs(got / std::exp(double(float(x))) - 1);
    worst = std::fmax(worst, error + perUnit * x);
  }
  CHECK(worst < 9.0e-8, "relative error %.3g", worst);
  const auto at = [](float x) { return lane0([](Vec v) { return exp(v); }, x); };
  CHECK(at(0) == 1, "e^0 = %g", at(0));
  CHECK(at(-INFINITY) == 0 && at(-88.04f) == 0 && at(-FLT_MAX) == 0, "e^-inf = %g", at(-INFINITY));
  CHECK(std::isnan(at(NAN)), "e^NaN = %g", at(NAN));
}

void checkTanh() {
  double worst = 0;
  for (double x = -20; x <= 20; x += 1.0 / 1021) {
    const float got = lane0([](Vec v) { return tanh(v); }, float(x)), in = float(x);
    if (in != 0) worst = std::fmax(worst, std::fabs(got / std::tanh(double(in)) - 1));
  }
  for (double x = 1e-30; x < 1; x *= 1.37) {
    worst =
        std::fmax(worst, std::fabs(lane0([](Vec v) { return tanh(v); }, float(x)) / std::tanh(double(float(x))) - 1));
  }
  CHECK(worst < 2.0e-7, "relative error %.3g", worst);
  const auto at = [](float x) { return lane0([](Vec v) { return tanh(v); }, x); };
  CHECK(at(0) == 0 && at(INFINITY) == 1 && at(-INFINITY) == -1, "tanh(inf) = %g", at(INFINITY));
  CHECK(std::isnan(at(NAN)), "tanh(NaN) = %g", at(NAN));
}

void checkShuffles() {
  Vec rows[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    float values[kLanes];
    for (int j = 0; j < kLanes; ++j) values[j] = float(100 * i + j);
    rows[i] = load(values);
  }
  float sums[kLanes];
  store(sums, reduceAddEach(rows));
  transpose(rows);
  for (int i = 0; i < kLanes; ++i) {
    float values[kLanes], sum = 0;
    store(values, rows[i]);
    for (int j = 0; j < kLanes; ++j) {
      CHECK(values[j] == float(100 * j + i), "transposed [%d][%d] = %g", i, j, values[j]);
      sum += float(100 * i + j);
    }
    CHECK(sums[i] == sum, "sum of row %d = %g, not %g", i, sums[i], sum);
  }
}

// All 65536 float16 values round trip through the vector and the scalar conversions, and those agree on every float
// near a rounding boundary.
void checkFloat16() {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    uint16_t in[kLanes], back[kLanes];
    for (auto& x : in) x = uint16_t(bits);
    float value[kLanes];
    store(value, loadFloat16(in));
    const float scalar = fromFloat16(uint16_t(bits));
    if (std::isnan(scalar)) {
      CHECK(std::isnan(value[0]) && std::isnan(fromFloat16(toFloat16(scalar))), "NaN %04x", bits);
      continue;
    }
    storeFloat16(back, load(value));
    CHECK(value[0] == scalar && back[0] == bits && toFloat16(scalar) == bits, "float16 %04x: %g, %g, %04x, %04x", bits,
          value[0], scalar, back[0], toFloat16(scalar));
    for (double nudge : {-1e-3, -0.5, -0.5 - 1e-6, 0.5, 0.5 + 1e-6, 1e-3}) {
      const float next = fromFloat16(uint16_t(bits + 1));
      if (!std::isfinite(next) || !std::isfinite(scalar)) continue;
      const float between = float(scalar + nudge * std::fabs(double(next) - scalar));
      storeFloat16(back, splat(between));
      CHECK(back[0] == toFloat16(between), "rounding %.9g: %04x or %04x", between, back[0], toFloat16(between));
    }
  }
  CHECK(toFloat16(65519.9f) == 0x7bff && toFloat16(65520.0f) == 0x7c00, "the largest float16");
}

void checkBfloat16() {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    uint16_t in[kLanes];
    for (auto& x : in) x = uint16_t(bits);
    float value[kLanes];
    store(value, loadBfloat16(in));
    const float scalar = fromBfloat16(uint16_t(bits));
    if (std::isnan(scalar)) {
      CHECK(std::isnan(value[0]) && std::isnan(fromBfloat16(toBfloat16(scalar))), "NaN %04x", bits);
    } else {
      CHECK(value[0] == scalar && toBfloat16(scalar) == bits, "bfloat16 %04x", bits);
    }
  }
  CHECK(std::isnan(fromBfloat16(toBfloat16(detail::floatOfBits(0x7f800001)))), "a NaN of low bits only");
  CHECK(toBfloat16(1.00390625f) == 0x3f80 && toBfloat16(1.01171875f) == 0x3f82, "ties go to even");
}

// A score rule says the same of vectors as of floats.
void checkRules() {
  const auto check = [](const char* what, const auto& rule) {
    for (const float x : {0.0f, 1.0f, -3.25f, 255.0f, 1e38f, FLT_MAX, -FLT_MAX, -INFINITY, INFINITY, NAN}) {
      for (const float sum : {0.0f, -2.5f, kHidden}) {
        const auto say = [&](auto number) {
          using N = decltype(number);
          return addUnlessHidden(N(sum), rule(number));
        };
        const float want = say(x), got = lane0([&](Vec v) { return say(Lanes(v)).v; }, x);
        CHECK(got == want || (std::isnan(got) && std::isnan(want)), "%s of %g and %g: %g, not %g", what, x, sum, got,
              want);
        CHECK(sum != kHidden || want == kHidden, "%s shows a hidden key", what);
      }
    }
  };
  check("mask", [](auto x) { return Mask{}.addend(x); });
  check("bias", [](auto x) { return Bias{}.addend(x); });
  check("relativeBias", [](auto x) { return RelativeBias{}.addend(x); });
  check("alibiSlopes", [](auto x) { return AlibiSlopes{}.addend(decltype(x)(-0.5f), x); });
  check("steep alibiSlopes", [](auto x) { return AlibiSlopes{}.addend(decltype(x)(-FLT_MAX), x); });
}

}  // namespace
}  // namespace tilewise::cpu

int main() {
  tilewise::cpu::checkExp();
  tilewise::cpu::checkTanh();
  tilewise::cpu::checkShuffles();
  tilewise::cpu::checkFloat16();
  tilewise::cpu::checkBfloat16();
  tilewise::cpu::checkRules();
  return finish("math " TILEWISE_SIMD);
}
