// Attention on the instances that mutants are compiled for, under one schedule, against float64. Stops at the first
// problem that goes wrong. Usage: attention_mutants <problems> <options of the emulator>
// Reader: see scripts/mutants.mjs.
#include <cstdio>
#include <cstdlib>

#include "../../../cuda/backend.h"
#include "../coded_keys.h"
#include "../gpu/bounds.h"
#include "../../../emulator/emulated_machine.h"

using namespace tilewise;

namespace {

// Windows and ranges: they have the same kernels.
bool isOfWindows(const AttentionProblem& p) { return std::string(traitsOf(p).name) == "window"; }

bool hasInstance(const AttentionProblem& p) {
  if (p.dtype == DType::bfloat16) return true;
  return p.dtype == DType::float32 && isOfWindows(p);
}

std::string tried(cuda::GpuBackend& backend, uint32_t seed) {
  static const int32_t shapes[][2] = {{64, 64}, {130, 200}, {65, 129},  {1, 600}, {2, 1100},
                                      {7, 100}, {33, 31},   {24, 1100}, {40, 700}};
  static const int32_t dims[] = {32, 32, 24, 20};
  CaseMaker maker{seed};
  const auto& [queries, keys] = shapes[seed % 9];
  const int32_t dim = seed % 18 == 0 ? 64 : dims[maker.pick(4)];
  auto c = maker.make(queries, keys, dim, dim);
  if (seed % 4 == 1) maker.makePlain(*c);
  if (seed % 5 == 2) maker.addStructure(*c);
  if (seed % 3 == 2) maker.spoilValues(*c);
  if (seed % 4 == 2 && mayHaveCodes(c->problem)) Encoder(*c, maker).encode();
  const bool isWide = dim > 32;
  const AttentionProblem& p = c->problem;
  if (!hasInstance(p) || (isWide && !traitsOf(p).isDense)) return "";
  const CancelFlag cancel{false};
  try {
    backend.run(p, cancel);
  } catch (const std::exception& error) {
    const std::string what = error.what();
    return what.find("there is no kernel") != std::string::npos ? "" : c->name + ": " + what;
  }
  return tensorCoreBounds(*c).admit(*c) ? "" : c->name + ": wrong";
}

}  // namespace

int main(int argc, char** argv) {
  const int problems = argc > 1 ? std::atoi(argv[1]) : 40;
  emulator::MachineOptions options;
  options.emulator = emulator::parseOptions(argc > 2 ? argv[2] : "");
  const auto machine = emulator::makeMachine(options);
  cuda::GpuBackend backend("cuda", *machine);
  for (int seed = 0; seed < problems; ++seed) {
    const std::string error = tried(backend, uint32_t(seed));
    if (error.empty()) continue;
    std::printf("problem %d, %s\n", seed, error.c_str());
    return 1;
  }
  return 0;
}
