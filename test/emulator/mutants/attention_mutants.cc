// Attention on the instances that mutants are compiled for, under one schedule, against float64. Stops at the first
// problem that goes wrong. Usage: attention_mutants <problems> <options of the emulator>
// Reader: see scripts/mutants.mjs.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "../../../cuda/backend.h"
#include "../../native/problems.h"
#include "../machine.h"

using namespace tilewise;

namespace {

constexpr double kBf16Step = 0x1p-8;  // relative distance of neighbours; everything here is at most 2

bool hasInstance(const Problem& p) {
  if (p.dtype == DType::bfloat16) return true;
  return p.dtype == DType::float32 && p.pattern == PatternKind::window;
}

bool isClose(double got, double want, double bound) {
  if (got == want) return true;  // infinite
  return std::fabs(got - want) <= bound;
}

bool isRight(const Case& c) {
  const Problem& p = c.problem;
  const double half = p.dtype == DType::bfloat16 ? kBf16Step / 2 : 0;
  const double lseBound = 3e-6 + 0x1p-21 * c.largestScore, bound = lseBound + 2 * half;
  bool isOk = true;
  for (size_t i = 0; i < c.lse.size(); ++i) isOk = isOk && isClose(p.lse[i], c.lse[i], lseBound);
  for (size_t i = 0; i < c.out.size(); ++i) {
    const double got = elementAt(p.out.data, p.dtype, int64_t(i)), want = c.out[i];
    isOk = isOk && isFiniteLike(got, want);
    if (std::isfinite(got)) isOk = isOk && isClose(got, want, bound + 2 * half * std::fabs(want));
  }
  return isOk;
}

std::string tried(gpu::GpuBackend& backend, uint32_t seed) {
  static const int32_t shapes[][2] = {{64, 64}, {130, 200}, {65, 129},  {1, 600}, {2, 1100},
                                      {7, 100}, {33, 31},   {24, 1100}, {40, 700}};
  static const int32_t dims[] = {32, 32, 24, 20};
  CaseMaker maker{seed};
  const auto& [queries, keys] = shapes[seed % 9];
  const int32_t dim = seed % 18 == 0 ? 64 : dims[maker.pick(4)];
  auto c = maker.make(queries, keys, dim, dim);
  if (seed % 3 == 2) maker.spoilValues(*c);
  const bool isWide = dim > 32;
  const Problem& p = c->problem;
  if (!hasInstance(p) || (isWide && p.pattern != PatternKind::window)) return "";
  const CancelFlag cancel{false};
  try {
    backend.run(p, cancel);
  } catch (const std::exception& error) {
    const std::string what = error.what();
    return what.find("there is no kernel") != std::string::npos ? "" : c->name + ": " + what;
  }
  return isRight(*c) ? "" : c->name + ": wrong";
}

}  // namespace

int main(int argc, char** argv) {
  const int problems = argc > 1 ? std::atoi(argv[1]) : 40;
  emulator::MachineOptions options;
  options.emulator = emulator::parseOptions(argc > 2 ? argv[2] : "");
  const auto machine = emulator::makeMachine(options);
  gpu::GpuBackend backend("cuda", *machine);
  for (int seed = 0; seed < problems; ++seed) {
    const std::string error = tried(backend, uint32_t(seed));
    if (error.empty()) continue;
    std::printf("problem %d, %s\n", seed, error.c_str());
    return 1;
  }
  return 0;
}
