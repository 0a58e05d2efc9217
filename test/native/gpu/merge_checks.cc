// Merging on the emulated GPU against the rule in float64. Reader: someone who changes the kernel.
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

struct Lse {
  int64_t batch, head, token;
  std::vector<float> values;
  float at(int32_t b, int32_t h, int32_t t) const { return values[size_t(b * batch + h * head + t * token)]; }
};

struct Case {
  MergeProblem problem;
  std::vector<OwnOperand> outs;
  std::vector<Lse> lses;
  OwnOperand out;
  Lse lse;
  std::vector<float> sinks;  // per head; empty: none
  bool doAdd = false;        // parts have no lse
  std::string name;
};

Lse makeLse(Pick& pick, const MergeProblem& p) {
  Lse lse;
  const bool isByHead = pick(2);
  lse.batch = int64_t(p.heads) * p.queries;
  lse.head = isByHead ? p.queries : 1;
  lse.token = isByHead ? 1 : p.heads;
  for (int64_t i = 0; i < lse.batch * p.batch; ++i) {
    const float nothing = pick(4) == 0 ? INFINITY : -INFINITY;
    lse.values.push_back(pick(5) == 0 ? nothing : float(pick(2000) - 1000) / (pick(4) ? 100.0f : 1.0f));
  }
  return lse;
}

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  MergeProblem& p = c.problem;
  c.doAdd = seed % 5 == 4;
  const int32_t dims[] = {1, 5, 16, 64, 128, 300, 512}, counts[] = {1, 2, 3, 40};
  p.batch = 1 + pick(2);
  p.heads = 1 + pick(3);
  p.queries = pick(12);
  p.valueDim = pick.of(dims);
  p.dtype = DType(pick(3));
  const bool isEven = pick(4) == 0;  // equal weights, whose averages often are halfway between two numbers
  const OperandShape shape{p.batch, p.queries, p.heads, p.valueDim};
  for (int32_t i = pick.of(counts); i > 0; --i) {
    c.lses.push_back(makeLse(pick, p));
    if (isEven) c.lses.back().values.assign(c.lses.back().values.size(), 1.0f);
    c.outs.push_back(makeOperand(pick, shape, p.dtype, false, [&] { return float(pick(2000) - 1000) / 512; }));
    // Rows that saw no key are not read: what they hold must not get out.
    OwnOperand& out = c.outs.back();
    if (out.operand.batch == 0 || c.doAdd) continue;
    for (int32_t b = 0; b < p.batch; ++b)
      for (int32_t t = 0; t < p.queries; ++t)
        for (int32_t h = 0; h < p.heads; ++h) {
          if (std::isinf(c.lses.back().at(b, h, t))) out.set(out.at(b, t, h, 0), NAN);
        }
  }
  c.out = makeOperand(pick, shape, p.dtype, true, [] { return 77.0f; });
  c.lse = makeLse(pick, p);
  for (int32_t h = pick(2) ? p.heads : 0; h > 0; --h) {
    c.sinks.push_back(pick(4) ? float(pick(2000) - 1000) / 100 : -INFINITY);
  }
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + ", " + std::to_string(c.outs.size()) +
           " parts, dim " + std::to_string(p.valueDim);
  return c;
}

// Parts of an activation other than softmax.
void checkSum(const Case& c, const OwnOperand& out, int32_t b, int32_t t, int32_t h) {
  const double rounding = c.problem.dtype == DType::float32 ? 1e-6 : c.problem.dtype == DType::float16 ? 1e-3 : 8e-3;
  for (int32_t d = 0; d < c.problem.valueDim; ++d) {
    double expected = 0, magnitude = 0;
    for (const OwnOperand& part : c.outs) {
      expected += part.get(b, t, h, d);
      magnitude += std::fabs(part.get(b, t, h, d));
    }
    const double got = out.get(b, t, h, d);
    CHECK(std::fabs(got - expected) <= 1e-6 * magnitude + std::fabs(expected) * rounding,
          "%s: the sum is %g, not %g, at %d %d %d %d", c.name.c_str(), got, expected, b, t, h, d);
  }
}

void checkRow(const Case& c, const OwnOperand& out, const Lse& lse, int32_t b, int32_t t, int32_t h) {
  std::vector<double> terms;
  for (const Lse& part : c.lses) terms.push_back(std::isinf(part.at(b, h, t)) ? -INFINITY : part.at(b, h, t));
  if (!c.sinks.empty()) terms.push_back(c.sinks[size_t(h)]);
  double most = -INFINITY, sum = 0;
  for (const double term : terms) most = std::fmax(most, term);
  for (const double term : terms) sum += most == -INFINITY ? 0 : std::exp(term - most);
  const double expectedLse = sum == 0 ? -INFINITY : most + std::log(sum);
  const double gotLse = lse.at(b, h, t);
  CHECK(gotLse == expectedLse || std::fabs(gotLse - expectedLse) <= 1e-6 * std::fmax(1, std::fabs(most)),
        "%s: lse %g, not %g", c.name.c_str(), gotLse, expectedLse);
  // Weights are exact to the rounding of lse; then one rounding to the element type.
  const double weightError = sum == 0 ? 0 : 4e-7 * std::fmax(1, std::fabs(most));
  const double rounding = c.problem.dtype == DType::float32 ? 1e-6 : c.problem.dtype == DType::float16 ? 1e-3 : 8e-3;
  for (int32_t d = 0; d < c.problem.valueDim; ++d) {
    double expected = 0, magnitude = 0;
    for (size_t i = 0; i < c.outs.size(); ++i) {
      if (terms[i] == -INFINITY) continue;
      const double term = std::exp(terms[i] - most) / sum * c.outs[i].get(b, t, h, d);
      expected += term;
      magnitude += std::fabs(term);
    }
    const double got = out.get(b, t, h, d), error = std::fabs(got - expected);
    CHECK(error <= magnitude * weightError * 4 + std::fabs(expected) * rounding + 1e-7,
          "%s: out %g, not %g, at %d %d %d %d", c.name.c_str(), got, expected, b, t, h, d);
  }
}

void checkCase(Case& c, const std::string& mode) {
  Device device(mode, {80, 8, 99 * 1024});
  MergeProblem p = c.problem;
  for (size_t i = 0; i < c.outs.size(); ++i) {
    MergePart part;
    part.out = c.outs[i].on(device.upload(c.outs[i].bytes));
    if (!c.doAdd) part.lse = device.upload(c.lses[i].values);
    part.lseBatch = c.lses[i].batch;
    part.lseHead = c.lses[i].head;
    part.lseToken = c.lses[i].token;
    p.parts.push_back(part);
  }
  uint8_t* const outBytes = device.upload(c.out.bytes);
  p.out = c.out.on(outBytes);
  if (!c.doAdd) p.lse = device.upload(c.lse.values);
  p.lseBatch = c.lse.batch;
  p.lseHead = c.lse.head;
  p.lseToken = c.lse.token;
  if (!c.doAdd && !c.sinks.empty()) {
    p.sinks = device.upload(c.sinks);
    p.sinksHead = 1;
  }
  cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
  OwnOperand out = c.out;
  out.bytes = device.download(outBytes, c.out.bytes.size());
  Lse lse = c.lse;
  if (!c.doAdd) lse.values = device.download(p.lse.data, lse.values.size());
  for (int32_t b = 0; b < p.batch; ++b)
    for (int32_t t = 0; t < p.queries; ++t)
      for (int32_t h = 0; h < p.heads; ++h) {
        if (c.doAdd) checkSum(c, out, b, t, h);
        if (!c.doAdd) checkRow(c, out, lse, b, t, h);
      }
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 60, makeCase, checkCase);
  return finish("merging on the GPU");
}
