// Appending on the emulated GPU: every row in its slot, rounded to the nearest, and nothing else touched. Reader:
// someone who changes the kernel. Arguments: rounds, then the emulator's modes.
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "../../../cuda/operations.h"
#include "../check.h"
#include "operands.h"

using namespace tilewise;

namespace {

struct Kind {
  OwnOperand from, to;
};

struct Case {
  AppendProblem problem;
  std::vector<int32_t> slots;
  std::vector<Kind> kinds;  // keys, then values
  std::string name;
};

Case makeCase(uint32_t seed) {
  Case c;
  Pick pick(seed);
  AppendProblem& p = c.problem;
  const int32_t dims[] = {1, 5, 16, 64, 128, 300}, pageSizes[] = {1, 4, 7, 16};
  p.batch = 1 + pick(2);
  p.heads = 1 + pick(3);
  p.tokens = pick(20);
  p.slots.pageSize = pick.of(pageSizes);
  p.slots.pages = int32_t(ceilDiv<int64_t>(p.rows(), p.slots.pageSize)) + 1 + pick(3);
  p.from = DType(pick(3));
  p.to = pick(2) ? p.from : DType(pick(3));
  std::vector<int32_t> free(size_t(p.slots.pages) * p.slots.pageSize);
  std::iota(free.begin(), free.end(), 0);
  for (int64_t row = 0; row < p.rows(); ++row) {
    std::swap(free[size_t(row)], free[size_t(row + pick(int32_t(int64_t(free.size()) - row)))]);
    c.slots.push_back(pick(5) ? free[size_t(row)] : -1);
  }
  const int32_t count = pick(4) ? 2 : 1;
  for (int32_t i = 0; i < count; ++i) {
    (i == 0 ? p.keys : p.values).dim = pick.of(dims);
    const int32_t dim = (i == 0 ? p.keys : p.values).dim;
    Kind kind;
    kind.from = makeOperand(pick, {p.batch, p.tokens, p.heads, dim}, p.from, false, [&] {
      return pick(20) ? float(pick(20000) - 10000) / (pick(3) ? 77.0f : 4e6f) : unusual(pick);
    });
    kind.to = makeOperand(pick, {p.slots.pages, p.slots.pageSize, p.heads, dim}, p.to, true, [] { return 77.0f; });
    c.kinds.push_back(std::move(kind));
  }
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.from) + " to " + nameOf(p.to);
  return c;
}

float rounded(float x, DType type) {
  if (type == DType::float16) return fromFloat16(toFloat16(x));
  return type == DType::bfloat16 ? fromBfloat16(toBfloat16(x)) : x;
}

void checkKind(const Case& c, const Kind& kind, const OwnOperand& got) {
  const AppendProblem& p = c.problem;
  OwnOperand expected = kind.to;
  for (int64_t row = 0; row < p.rows(); ++row) {
    const int32_t slot = c.slots[size_t(row)];
    if (slot < 0) continue;
    for (int32_t h = 0; h < p.heads; ++h)
      for (int32_t d = 0; d < kind.to.shape.dim; ++d) {
        const float x = kind.from.get(int32_t(row / p.tokens), int32_t(row % p.tokens), h, d);
        expected.set(expected.at(slot / p.slots.pageSize, slot % p.slots.pageSize, h, d), rounded(x, p.to));
      }
  }
  CHECK(got.bytes == expected.bytes, "%s: the pages are not as they should be", c.name.c_str());
}

void checkCase(Case& c, const std::string& mode) {
  Device device(mode, {80, 8, 99 * 1024});
  AppendProblem p = c.problem;
  std::vector<uint8_t*> pages;
  for (size_t i = 0; i < c.kinds.size(); ++i) {
    AppendedRows& rows = i == 0 ? p.keys : p.values;
    rows.from = c.kinds[i].from.on(device.upload(c.kinds[i].from.bytes));
    pages.push_back(device.upload(c.kinds[i].to.bytes));
    rows.to = c.kinds[i].to.on(pages.back());
  }
  p.slots.list = device.upload(c.slots);
  try {
    cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
    for (size_t i = 0; i < c.kinds.size(); ++i) {
      OwnOperand got = c.kinds[i].to;
      got.bytes = device.download(pages[i], got.bytes.size());
      checkKind(c, c.kinds[i], got);
    }
  } catch (const BackendError& error) {
    CHECK(false, "%s, %s: %s", c.name.c_str(), mode.c_str(), error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 60;
  const std::vector<std::string> modes(argv + smaller(argc, 2), argv + argc);
  for (int seed = 0; seed < rounds; ++seed) {
    Case c = makeCase(uint32_t(seed));
    for (const std::string& mode : modes.empty() ? std::vector<std::string>{"lazy", "races,random:7"} : modes) {
      checkCase(c, mode);
    }
  }
  return finish("appending on the GPU");
}
