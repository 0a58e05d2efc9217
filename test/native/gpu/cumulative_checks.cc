// Cumulative attention on the emulated GPU against its sums in float64. Reader: someone who changes the kernels.
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
  CumulativeProblem problem;
  OwnOperand value, out;
  std::vector<float> scores;  // [batch][tokens][heads]
  std::vector<float> max, sum, weighted;  // that go in; empty: none
  bool isStateWanted = false, isInPlace = false, isLseWanted = false;
  int32_t multiprocessors = 8;
  std::string name;
};

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  CumulativeProblem& p = c.problem;
  const int32_t dims[] = {1, 5, 64, 128, 130, 300};
  const Token tokens[] = {0, 1, 7, 63, 64, 65, 200};
  p.batch = 1 + pick(2);
  p.heads = 1 + pick(3);
  p.tokens = pick.of(tokens);
  p.valueDim = pick.of(dims);
  p.dtype = DType(pick(3));
  // Several groups of tokens.
  if (seed % 6 == 5) {
    p.batch = p.heads = 1;
    p.tokens = 1030 + pick(300);
    p.valueDim = 1 + pick(5);
  }
  if (pick(4) == 0) c.multiprocessors = 1;
  const float spread = pick(3) ? 4 : 200;
  const int32_t direction = pick(3) - 1;  // scores that fall or rise without end
  for (int64_t i = 0; i < int64_t(p.batch) * p.tokens * p.heads; ++i) {
    const float score = (float(pick(2000)) / 1000 - 1) * spread + float(direction) * float(i);
    c.scores.push_back(pick(8) ? score : -INFINITY);
  }
  const auto number = [&] { return float(pick(2000) - 1000) / 1024; };
  c.value = makeOperand(pick, {p.batch, p.tokens, p.heads, p.valueDim}, p.dtype, false, number);
  c.out = makeOperand(pick, {p.batch, p.tokens, p.heads, p.valueDim}, p.dtype, true, [] { return 77.0f; });
  c.isStateWanted = pick(2);
  c.isLseWanted = pick(2);
  if (pick(2)) {
    for (int32_t task = 0; task < p.batch * p.heads; ++task) {
      const bool isEmpty = pick(4) == 0;
      c.max.push_back(isEmpty ? -INFINITY : float(pick(20)));
      c.sum.push_back(isEmpty ? 0 : 1 + float(pick(100)) / 10);
      for (int32_t e = 0; e < p.valueDim; ++e) c.weighted.push_back(isEmpty ? 0 : number());
    }
    c.isInPlace = c.isStateWanted && pick(2);
  }
  // Values of hidden tokens are not read.
  for (int32_t b = 0; b < p.batch && c.value.operand.batch != 0; ++b)
    for (Token t = 0; t < p.tokens; ++t)
      for (int32_t h = 0; h < p.heads; ++h) {
        if (std::isfinite(c.scores[size_t((b * p.tokens + t) * p.heads + h)])) continue;
        c.value.set(c.value.at(b, t, h, 0), NAN);
      }
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + " tokens " + std::to_string(p.tokens) + " heads " +
           std::to_string(p.heads) + " dim " + std::to_string(p.valueDim) + (c.max.empty() ? "" : " state in") +
           (c.isInPlace       ? " in place"
            : c.isStateWanted ? " state out"
                              : "");
  return c;
}

struct Result {
  OwnOperand out;
  std::vector<float> max, sum, weighted, lse;
};

// Of one head, in float64; `size` sums magnitudes.
struct Sum {
  double max = -INFINITY, sum = 0;
  std::vector<double> weighted, size;

  void scale(double to) {
    const double factor = max == to ? 1 : std::exp(max - to);
    max = to;
    sum *= factor;
    for (double& x : weighted) x *= factor;
    for (double& x : size) x *= factor;
  }
};

void checkHead(const Case& c, const Result& got, int32_t b, int32_t h) {
  const CumulativeProblem& p = c.problem;
  const size_t task = size_t(b) * size_t(p.heads) + size_t(h), dim = size_t(p.valueDim);
  Sum sum{-INFINITY, 0, std::vector<double>(dim), std::vector<double>(dim)};
  if (!c.max.empty() && c.sum[task] > 0) {
    sum.max = c.max[task];
    sum.sum = c.sum[task];
    for (size_t e = 0; e < dim; ++e) sum.size[e] = std::fabs(sum.weighted[e] = c.weighted[task * dim + e]);
  }
  const double rounding = p.dtype == DType::float32 ? 1e-6 : p.dtype == DType::float16 ? 0x1p-11 : 0x1p-8;
  for (Token t = 0; t < p.tokens; ++t) {
    const double score = c.scores[size_t((b * p.tokens + t) * p.heads + h)];
    if (std::isfinite(score)) {
      if (score > sum.max) sum.scale(score);
      const double weight = std::exp(score - sum.max);
      sum.sum += weight;
      for (size_t e = 0; e < dim; ++e) {
        const double x = weight * c.value.get(b, t, h, int32_t(e));
        sum.weighted[e] += x;
        sum.size[e] += std::fabs(x);
      }
    }
    // Scores of some hundreds are exact to 2^-16, and so are weights.
    const double arithmetic = 4e-6 + 1e-7 * std::fmax(0, std::fabs(sum.max) < 1e30 ? std::fabs(sum.max) : 0);
    for (size_t e = 0; e < dim; ++e) {
      const double expected = sum.sum == 0 ? 0 : sum.weighted[e] / sum.sum,
                   size = sum.sum == 0 ? 0 : sum.size[e] / sum.sum;
      const double at = got.out.get(b, t, h, int32_t(e));
      CHECK(std::fabs(at - expected) <= arithmetic * size + rounding * std::fabs(expected) + 1e-7,
            "%s: %g, not %g, at %d %d %d %zu", c.name.c_str(), at, expected, b, t, h, e);
    }
    if (!c.isLseWanted) continue;
    const double expected = sum.sum == 0 ? -INFINITY : sum.max + std::log(sum.sum);
    const double at = got.lse[size_t((b * p.heads + h) * p.tokens + t)];
    CHECK(at == expected || std::fabs(at - expected) <= 2e-6 * std::fmax(1, std::fabs(expected)), "%s: lse %g, not %g",
          c.name.c_str(), at, expected);
  }
  if (!c.isStateWanted) return;
  const double lse = std::log(double(got.sum[task])) + double(got.max[task]), expected = std::log(sum.sum) + sum.max;
  CHECK(sum.sum == 0 ? got.sum[task] == 0 : std::fabs(lse - expected) <= 2e-6 * std::fmax(1, std::fabs(expected)),
        "%s: the state's sum is e^%g, not e^%g", c.name.c_str(), lse, expected);
  for (size_t e = 0; e < dim && sum.sum > 0; ++e) {
    const double at = double(got.weighted[task * dim + e]) / double(got.sum[task]), mean = sum.weighted[e] / sum.sum;
    CHECK(std::fabs(at - mean) <= 4e-5 * std::fmax(sum.size[e] / sum.sum, 1e-3), "%s: the state's mean is %g, not %g",
          c.name.c_str(), at, mean);
  }
}

Result runOnDevice(const Case& c, const std::string& mode) {
  Device device(mode, {80, c.multiprocessors, 99 * 1024});
  CumulativeProblem p = c.problem;
  p.value = c.value.on(device.upload(c.value.bytes));
  uint8_t* const out = device.upload(c.out.bytes);
  p.out = c.out.on(out);
  p.scores = device.upload(c.scores);
  p.scoreBatch = int64_t(p.tokens) * p.heads;
  p.scoreToken = p.heads;
  p.scoreHead = 1;
  const size_t tasks = size_t(p.batch) * size_t(p.heads), rows = tasks * size_t(p.tokens);
  if (c.isLseWanted) {
    p.lse = device.upload(std::vector<float>(rows, 55.0f));
    p.lseToken = 1;
    p.lseHead = p.tokens;
    p.lseBatch = int64_t(p.heads) * p.tokens;
  }
  if (!c.max.empty()) {
    p.before.max = device.upload(c.max);
    p.before.sum = device.upload(c.sum);
    p.before.weighted = device.upload(c.weighted);
  }
  const auto placed = [&](const Placed<const float>& before, size_t count) {
    return c.isInPlace ? const_cast<float*>(before.data) : device.upload(std::vector<float>(count, 55.0f));
  };
  if (c.isStateWanted) {
    p.after.max = placed(p.before.max, tasks);
    p.after.sum = placed(p.before.sum, tasks);
    p.after.weighted = placed(p.before.weighted, tasks * size_t(p.valueDim));
  }
  cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
  Result result{c.out, {}, {}, {}, {}};
  result.out.bytes = device.download(out, c.out.bytes.size());
  if (c.isLseWanted) result.lse = device.download(p.lse.data, rows);
  if (c.isStateWanted) {
    result.max = device.download(p.after.max.data, tasks);
    result.sum = device.download(p.after.sum.data, tasks);
    result.weighted = device.download(p.after.weighted.data, tasks * size_t(p.valueDim));
  }
  return result;
}

void checkCase(const Case& c, const std::string& mode) {
  const Result result = runOnDevice(c, mode);
  for (int32_t b = 0; b < c.problem.batch; ++b)
    for (int32_t h = 0; h < c.problem.heads; ++h) checkHead(c, result, b, h);
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 60, makeCase, checkCase);
  return finish("cumulative attention on the GPU");
}
