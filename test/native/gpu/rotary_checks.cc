// Rotary embedding on the emulated GPU against the rule in float64. Reader: someone who changes the kernel.
// Arguments: rounds, then the emulator's modes.
#include <cmath>
#include <string>
#include <vector>

#include "../../../cuda/operations.h"
#include "../check.h"
#include "operands.h"
#include "rounds.h"

using namespace tilewise;

namespace {

struct Case {
  RotaryProblem problem;
  OwnOperand in, out;
  bool isInPlace;
  bool isByEntry, isByHead;  // whether rotations differ
  std::vector<float> rotations;  // [batch or 1][tokens][heads or 1][cosines, sines]
  std::string name;

  size_t rotationsAt(int32_t b, int32_t t, int32_t h) const {
    const RotaryProblem& p = problem;
    const int32_t heads = isByHead ? p.heads : 1;
    return (size_t(isByEntry ? b : 0) * size_t(p.tokens) + size_t(t)) * size_t(heads) * 2 * size_t(p.pairs) +
           size_t(isByHead ? h : 0) * 2 * size_t(p.pairs);
  }
};

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  RotaryProblem& p = c.problem;
  const int32_t dims[] = {2, 5, 16, 64, 80, 128, 256};
  p.batch = 1 + pick(2);
  p.heads = 1 + pick(5);
  p.tokens = pick(12);
  p.headDim = pick.of(dims);
  p.pairs = pick(3) ? p.headDim / 2 : 1 + pick(p.headDim / 2);
  p.isInterleaved = pick(2);
  p.dtype = DType(pick(3));
  c.isByEntry = pick(2);
  c.isByHead = pick(3) == 0;
  c.isInPlace = pick(3) == 0;
  const OperandShape shape{p.batch, p.tokens, p.heads, p.headDim};
  c.in = makeOperand(pick, shape, p.dtype, c.isInPlace,
                     [&] { return pick(20) ? float(pick(2000) - 1000) / 512 : unusual(pick); });
  c.out = makeOperand(pick, shape, p.dtype, true, [] { return 77.0f; });
  const size_t rows = size_t(c.isByEntry ? p.batch : 1) * size_t(p.tokens) * size_t(c.isByHead ? p.heads : 1);
  for (size_t i = 0; i < rows * 2 * size_t(p.pairs); ++i) c.rotations.push_back(float(pick(2000) - 1000) / 1000);
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + (p.isInterleaved ? " neighbours" : " halves") +
           ", " + std::to_string(p.pairs) + " pairs of " + std::to_string(p.headDim) + (c.isInPlace ? " in place" : "");
  return c;
}

void checkRow(const Case& c, const OwnOperand& out, int32_t b, int32_t t, int32_t h) {
  const RotaryProblem& p = c.problem;
  const float* const rotations = c.rotations.data() + c.rotationsAt(b, t, h);
  // Of a type: what rounding to it may change, half a unit of its subnormals, its largest number.
  const bool isFloat16 = p.dtype == DType::float16;
  const double rounding = p.dtype == DType::float32 ? 0 : isFloat16 ? 0x1p-11 : 0x1p-8;
  const double least = isFloat16 ? 0x1p-25 : 0x1p-126;
  const double largest = isFloat16 ? 65504 : p.dtype == DType::float32 ? 0x1.fffffep127 : 0x1.fep127;
  const auto check = [&](int32_t d, double x, double y) {
    const double got = out.get(b, t, h, d), expected = x + y;
    const double most = 0x1p-22 * (std::fabs(x) + std::fabs(y)) + rounding * std::fabs(expected) + least;
    const bool isOver = std::fabs(expected) > largest && got == std::copysign(INFINITY, expected);
    CHECK(isOver || std::fabs(got - expected) <= most || (std::isnan(expected) && std::isnan(got)),
          "%s: %g, not %g, at %d %d %d %d", c.name.c_str(), got, expected, b, t, h, d);
  };
  for (int32_t i = 0; i < p.pairs; ++i) {
    const int32_t first = p.isInterleaved ? 2 * i : i, second = p.isInterleaved ? 2 * i + 1 : i + p.pairs;
    const double a = c.in.get(b, t, h, first), z = c.in.get(b, t, h, second);
    const double cosine = rotations[i], sine = rotations[p.pairs + i];
    check(first, a * cosine, -z * sine);
    check(second, a * sine, z * cosine);
  }
  for (int32_t d = 2 * p.pairs; d < p.headDim; ++d) {
    const float got = out.get(b, t, h, d), expected = c.in.get(b, t, h, d);
    CHECK(detail::bitsOf(got) == detail::bitsOf(expected), "%s: dim %d is changed", c.name.c_str(), d);
  }
}

// What is between the elements, and around them, stays.
void checkGaps(const Case& c, OwnOperand before, OwnOperand after) {
  const RotaryProblem& p = c.problem;
  for (OwnOperand* const o : {&before, &after})
    for (int32_t b = 0; b < p.batch; ++b)
      for (int32_t t = 0; t < p.tokens; ++t)
        for (int32_t h = 0; h < p.heads; ++h)
          for (int32_t d = 0; d < p.headDim; ++d) o->set(o->at(b, t, h, d), 0);
  CHECK(before.bytes == after.bytes, "%s: written where no element is", c.name.c_str());
}

void checkCase(const Case& c, const std::string& mode) {
  Device device(mode, {80, 8, 99 * 1024});
  const RotaryProblem& p = c.problem;
  cuda::StagedRotary staged{p, {}};
  const OwnOperand& target = c.isInPlace ? c.in : c.out;
  uint8_t* const in = device.upload(c.in.bytes);
  uint8_t* const to = c.isInPlace ? in : device.upload(c.out.bytes);
  staged.problem.in = c.in.on(in);
  staged.problem.out = target.on(to);
  staged.rotations.data = device.upload(c.rotations);
  staged.rotations.batch = c.isByEntry ? int64_t(c.rotationsAt(1, 0, 0)) : 0;
  staged.rotations.token = int64_t(c.rotationsAt(0, 1, 0));
  staged.rotations.head = c.isByHead ? 2 * p.pairs : 0;
  cuda::run(staged, device.limits(), device.queue(), CancelFlag{false});
  OwnOperand out = target;
  out.bytes = device.download(to, target.bytes.size());
  for (int32_t b = 0; b < p.batch; ++b)
    for (int32_t t = 0; t < p.tokens; ++t)
      for (int32_t h = 0; h < p.heads; ++h) checkRow(c, out, b, t, h);
  checkGaps(c, target, out);
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 100, makeCase, checkCase);
  return finish("rotary embedding on the GPU");
}
