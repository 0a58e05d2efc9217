// The attention kernels against float64 on random problems, through the backend that users get, on whatever GPU this is
// linked with: the emulated one, or those of the driver with the images of kernels/ beside the program.
// Usage: attention_checks [rounds] [first seed]; attention_checks each [n]: one problem for each n-th kernel;
// attention_checks codes [rounds] [first seed]: problems whose older keys are codes; or attention_checks of <kernel>
// [problems]: problems that this kernel takes, up to the first that goes wrong. Reader: someone who changed a kernel.
// The TypeScript conformance suite is the real specification; this one needs no Node, and runs where time is short.
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <set>

#include "../../../core/op/backend.h"
#include "../../../cuda/attention/launch_plan.h"
#include "../../../cuda/backends.h"
#include "../check.h"
#include "../coded_keys.h"
#include "bounds.h"

using namespace tilewise;

namespace {

void checkAnswer(const Case& c) {
  const Bounds bounds = tensorCoreBounds(c);
  const double out = outError(c, bounds.relative), lse = lseError(c);
  CHECK(out < bounds.out, "%s: out is off by %g", c.name.c_str(), out);
  CHECK(lse < bounds.lse, "%s: lse is off by %g", c.name.c_str(), lse);
}

void poison(Case& c) {
  const AttentionProblem& p = c.problem;
  const int64_t rows = int64_t(p.batch) * p.outputHeads() * p.queries;
  for (int64_t i = 0; i < rows * p.valueDim; ++i) {
    if (p.dtype == DType::float32) {
      static_cast<float*>(p.out.data)[i] = NAN;
    } else {
      static_cast<uint16_t*>(p.out.data)[i] = 0x7fff;
    }
  }
  for (int64_t i = 0; p.lse && i < rows; ++i) p.lse[i] = NAN;
}

// Right, and the same bits when run again.
void checkOnce(Backend& backend, Case& c) {
  const CancelFlag cancel{false};
  const std::vector<std::string> reasons = backend.supports(c.problem);
  CHECK(reasons.empty(), "%s: refused: %s", c.name.c_str(), reasons.empty() ? "" : reasons[0].c_str());
  poison(c);
  try {
    backend.run(c.problem, cancel);
  } catch (const std::exception& e) {
    CHECK(false, "%s: %s", c.name.c_str(), e.what());
    return;
  }
  checkAnswer(c);
  const std::vector<std::vector<char>> first = c.buffers;
  backend.run(c.problem, cancel);
  CHECK(first == c.buffers, "%s: other bits when run again", c.name.c_str());
}

// Without lse, too, where rows that a gate closes are not computed.
void check(Backend& backend, Case& c) {
  checkOnce(backend, c);
  if (!c.problem.gate.isPresent()) return;
  const Placed<float> lse = c.problem.lse;
  c.problem.lse = nullptr;
  checkOnce(backend, c);
  c.problem.lse = lse;
}

// One small problem for every n-th of all kernels, which is what sanitizers have time for.
void checkEachKernel(Backend& backend, size_t every) {
  // By element type, ways to meet the keys of a pattern in tiles of dims, and patterns of more dims than these; and
  // 16-bit windows over values of fewer dims.
  constexpr size_t kKernels = 3 * (3 * 6 + 4 * 4 - 2 + 4) + 2;
  const int32_t queryCounts[] = {1, 3, 40, 70}, keyCounts[] = {33, 70}, dims[] = {32, 64, 80, 128, 180, 256, 300};
  std::set<std::string> met;
  for (uint32_t seed = 0; met.size() < kKernels && seed < 20'000; ++seed) {
    CaseMaker maker{seed};
    const int32_t queries = queryCounts[maker.pick(4)], keys = keyCounts[maker.pick(2)], dim = dims[maker.pick(7)];
    const auto c = maker.draw(queries, keys, dim, dim == 180 && maker.pick(2) ? 120 : dim - maker.pick(9));
    const std::string kernel = cuda::planLaunch(c->problem, c->problem.queries, c->problem.keys).kernel();
    if (!met.insert(kernel).second || met.size() % every != 0) continue;
    answer(*c);
    c->name = kernel + ": " + c->name;
    check(backend, *c);
  }
  CHECK(met.size() == kKernels, "%zu kernels were met, there are %zu", met.size(), kKernels);
}

// The first sequence has no keys.
void emptyFirst(Case& c) {
  AttentionProblem& p = c.problem;
  if (p.batch == 1 || p.pattern == PatternKind::neighborhood) return;
  const int32_t lengths[] = {0, p.keys};
  const char* bytes = reinterpret_cast<const char*>(lengths);
  c.buffers.emplace_back(bytes, bytes + sizeof lengths);
  p.keyLengths = reinterpret_cast<const int32_t*>(c.buffers.back().data());
}

// Few heads, as other heads only repeat what one does, and edges of the mask at every key of a tile. For whoever
// changes one kernel on purpose: scripts/ptx-mutants.mjs.
void checkKernel(Backend& backend, const std::string& kernel, int problems) {
  const int32_t queryCounts[] = {1, 3, 24, 70, 130}, keyCounts[] = {33, 70, 100, 150, 600};
  const bool isWide = kernel.find("wide") != std::string::npos;  // of any dims: these have three strips and two
  const size_t last = kernel.rfind('_'), before = kernel.rfind('_', last - 1);
  const int32_t valueColumns = isWide ? 270 : std::atoi(kernel.c_str() + last + 1);
  const bool hasBoth = std::isdigit(static_cast<unsigned char>(kernel[before + 1]));  // keys have dims of their own
  const int32_t dim = hasBoth ? std::atoi(kernel.c_str() + before + 1) : valueColumns;
  const auto isAsked = [&](const AttentionProblem& p) {
    return p.batch * p.outputHeads() <= 10 && kernel.find(nameOf(p.dtype)) != std::string::npos;
  };
  int met = 0;
  for (uint32_t seed = 0; met < problems && failures == 0 && seed < 100'000; ++seed) {
    CaseMaker maker{seed};
    const int32_t queries = queryCounts[maker.pick(5)], keys = keyCounts[maker.pick(5)];
    const int32_t headDim = dim - maker.pick(2) * maker.pick(9);
    const int32_t valueDim = valueColumns - maker.pick(2) * maker.pick(9);
    const auto c = maker.drawIf(queries, keys, headDim, valueDim, isAsked);
    if (!c) continue;
    const cuda::LaunchPlan plan = cuda::planLaunch(c->problem, queries, keys);
    if (plan.kernel() != kernel) continue;
    ++met;
    // Behind a start the gather kernel alone takes them.
    const bool takesSinks = CaseMaker::takesAnySinks(c->problem) && !c->problem.keyStarts;
    if (met % 4 == 1 && takesSinks) c->problem.window.sinkTokens = maker.pick(100);
    if (met % 4 == 2) emptyFirst(*c);
    const bool joinsWithSinks = plan.params.splits > 1 && seed % 2;  // few are split at all
    if (met % 5 == 3 || joinsWithSinks) maker.addSinks(*c);
    if (met % 3 == 1 && kernel.find("stream") == std::string::npos) maker.addStructure(*c);
    if (met % 8 == 0) {
      maker.spoilEachDim(*c);
    } else if (met % 8 == 4) {
      maker.spoilValues(*c);
    } else if (met % 2 == 0) {
      maker.spoilEachTile(*c, 32 << maker.pick(3));
    } else if (met % 4 == 3) {
      maker.stretchProducts(*c);
    } else {
      answer(*c);
    }
    c->name = "seed " + std::to_string(seed) + ": " + c->name;
    check(backend, *c);
  }
  CHECK(met > 0, "no problem for %s", kernel.c_str());
}

void checkRandom(Backend& backend, int rounds, int firstSeed) {
  const int32_t queryCounts[] = {0, 1, 1, 2, 3, 7, 16, 33, 64, 65, 100, 129, 193, 300};
  const int32_t keyCounts[] = {0, 1, 2, 7, 16, 31, 64, 65, 100, 193, 400, 600, 1100};
  const int32_t dims[] = {1, 3, 8, 16, 32, 40, 64, 80, 96, 100, 128, 160, 192, 250, 256};
  for (int seed = firstSeed; seed < firstSeed + rounds; ++seed) {
    CaseMaker maker{uint32_t(seed)};
    const int32_t queries = queryCounts[maker.pick(14)], keys = keyCounts[maker.pick(13)];
    const int32_t headDim = dims[maker.pick(15)], valueDim = maker.pick(2) ? headDim : dims[maker.pick(15)];
    const auto c = maker.make(queries, keys, headDim, valueDim);
    if (seed % 5 == 2) maker.makePlain(*c);
    if (seed % 3 == 1) maker.addStructure(*c);
    if (seed % 4 == 3) maker.spoilValues(*c);
    if (seed % 8 == 4) maker.stretchProducts(*c);
    c->name = "seed " + std::to_string(seed) + ": " + c->name;
    check(backend, *c);
  }
}

void checkCodes(Backend& backend, int rounds, int firstSeed) {
  const int32_t queryCounts[] = {1, 1, 2, 7, 33, 70, 130}, keyCounts[] = {1, 7, 33, 64, 100, 193, 600};
  const int32_t dims[] = {1, 6, 8, 24, 32, 64, 80, 128, 180, 256, 300};
  for (int seed = firstSeed; seed < firstSeed + rounds; ++seed) {
    CaseMaker maker{uint32_t(seed)};
    const int32_t queries = queryCounts[maker.pick(7)], keys = keyCounts[maker.pick(7)];
    const int32_t headDim = dims[maker.pick(11)], valueDim = maker.pick(2) ? headDim : dims[maker.pick(11)];
    const auto c = maker.drawIf(queries, keys, headDim, valueDim, mayHaveCodes);
    if (!c) continue;
    if (seed % 4 == 3) maker.spoilValues(*c);
    Encoder(*c, maker).encode();
    c->name = "seed " + std::to_string(seed) + ": " + c->name;
    check(backend, *c);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Backend& backend = *cuda::backends().front();
  if (const Availability availability = backend.availability(); !availability.isAvailable) {
    std::printf("left out, no GPU: %s\n", availability.reason.c_str());
    return 0;
  }
  if (argc > 1 && std::string(argv[1]) == "each") {
    checkEachKernel(backend, argc > 2 ? size_t(std::atoi(argv[2])) : 1);
  } else if (argc > 1 && std::string(argv[1]) == "codes") {
    checkCodes(backend, argc > 2 ? std::atoi(argv[2]) : 100, argc > 3 ? std::atoi(argv[3]) : 0);
  } else if (argc > 2 && std::string(argv[1]) == "of") {
    checkKernel(backend, argv[2], argc > 3 ? std::atoi(argv[3]) : 24);
  } else {
    checkRandom(backend, argc > 1 ? std::atoi(argv[1]) : 200, argc > 2 ? std::atoi(argv[2]) : 0);
  }
  return finish("attention kernels");
}
