// Summaries of keys on the emulated GPU against float64. Reader: someone who changes the kernel.
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
  SummaryProblem problem;
  OwnOperand key;
  std::vector<SummaryRun> runs;
  std::string name;
};

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  SummaryProblem& p = c.problem;
  const int32_t dims[] = {1, 5, 64, 70, 128};
  p.batch = 1 + pick(3);
  p.heads = 1 + pick(3);
  p.tokens = 1 + pick(70);
  p.headDim = pick.of(dims);
  p.type = DType(pick(3));
  c.key = makeOperand(pick, {p.batch, p.tokens, p.heads, p.headDim}, p.type, false,
                      [&] { return float(pick(2000) - 1000) / 512; });
  p.rows = 1 + pick(9);
  for (int32_t row = 0; row < p.rows; ++row) {
    const int32_t first = pick(p.tokens);
    if (pick(4)) c.runs.push_back({pick(p.batch), first, 1 + pick(p.tokens - first), row});
  }
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.type) + " tokens " + std::to_string(p.tokens) + " heads " +
           std::to_string(p.heads) + " dim " + std::to_string(p.headDim);
  return c;
}

void checkCase(const Case& c, const std::string& mode) {
  Device device(mode, {80, 8, 99 * 1024});
  SummaryProblem p = c.problem;
  const size_t dim = size_t(p.headDim), numbers = size_t(p.rows) * size_t(p.heads) * dim;
  OwnOperand bounds;
  bounds.shape = {int32_t(p.rows), 1, p.heads, 2 * p.headDim};
  bounds.dtype = p.type;
  bounds.operand = {nullptr, int64_t(p.heads) * 2 * p.headDim, 0, 2 * int64_t(p.headDim), 1};
  bounds.bytes.assign(2 * numbers * size_t(sizeOf(p.type)), 0x11);
  const std::vector<uint8_t> before = bounds.bytes;
  p.key = c.key.on(device.upload(c.key.bytes));
  p.runs = device.upload(c.runs);
  p.runCount = int64_t(c.runs.size());
  uint8_t* const place = device.upload(bounds.bytes);
  p.bounds = place;
  p.means = device.upload(std::vector<float>(numbers, 55.0f));
  cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
  bounds.bytes = device.download(place, bounds.bytes.size());
  const std::vector<float> means = device.download(p.means.data, numbers);
  std::vector<bool> isWritten(size_t(p.rows), false);
  for (const SummaryRun& run : c.runs) {
    isWritten[size_t(run.row)] = true;
    for (int32_t h = 0; h < p.heads; ++h)
      for (int32_t d = 0; d < p.headDim; ++d) {
        float largest = -INFINITY, smallest = INFINITY;
        double sum = 0;
        for (Token t = run.first; t < run.first + run.count; ++t) {
          const float x = c.key.get(run.batch, t, h, d);
          largest = std::fmax(largest, x);
          smallest = std::fmin(smallest, x);
          sum += double(x);
        }
        const double mean = sum / run.count;
        const float got = means[(size_t(run.row) * size_t(p.heads) + size_t(h)) * dim + size_t(d)];
        CHECK(bounds.get(run.row, 0, h, d) == largest && bounds.get(run.row, 0, h, p.headDim + d) == smallest,
              "%s, %s: bounds of row %d, channel %d", c.name.c_str(), mode.c_str(), run.row, d);
        CHECK(std::fabs(double(got) - mean) <= 4e-6, "%s, %s: the mean of row %d, channel %d is %g, not %g",
              c.name.c_str(), mode.c_str(), run.row, d, double(got), mean);
      }
  }
  // Rows of no run stay as they are.
  const size_t rowBytes = bounds.bytes.size() / size_t(p.rows), rowMeans = numbers / size_t(p.rows);
  for (size_t row = 0; row < isWritten.size(); ++row) {
    if (isWritten[row]) continue;
    const bool isSame = std::equal(before.begin() + long(row * rowBytes), before.begin() + long((row + 1) * rowBytes),
                                   bounds.bytes.begin() + long(row * rowBytes));
    CHECK(isSame && means[row * rowMeans] == 55.0f, "%s, %s: row %zu is written", c.name.c_str(), mode.c_str(), row);
  }
}

}  // namespace

int main(int argc, char** argv) {
  checkRounds(argc, argv, 40, makeCase, checkCase);
  return finish("summaries of keys on the GPU");
}
