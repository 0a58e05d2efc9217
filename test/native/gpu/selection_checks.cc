// Selection on the emulated GPU gives the CPU's lists, entry by entry: on integers, whose sums are exact, with ties.
// Reader: someone who changes the kernels or their plan. The CPU's lists are checked against the rule elsewhere
// (test/native/cpu/select_checks.cc). Usage: selection_checks [rounds] [the emulator's modes ...]; selection_checks
// each [problems]: so many for each kernel; or selection_checks of <kernel> [problems]: problems that launch this
// kernel, up to the first that goes wrong.
#include <cmath>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "../../../cpu/backend.h"
#include "../../../cuda/backend.h"
#include "../../../cuda/operations.h"
#include "../../../cuda/machine/aligned_rows.h"
#include "../check.h"
#include "noting_queue.h"
#include "selection_cases.h"

using namespace tilewise;

namespace {

struct Lists {
  std::vector<std::vector<int32_t>> starts, counts;
};

Lists runOnCpu(SelectionCase& c) {
  Lists lists{c.starts, c.counts};
  SelectionProblem p = c.problem;
  p.query = c.query.here();
  p.key = c.key.here();
  p.keyLengths = c.lengths.empty() ? nullptr : c.lengths.data();
  for (int32_t s = 0; s < p.stages; ++s) {
    p.stage[s].starts = lists.starts[size_t(s)].data();
    p.stage[s].counts = lists.counts[size_t(s)].data();
  }
  cpu::backend().run(p, CancelFlag{false});
  return lists;
}

Lists runOnDevice(const SelectionCase& c, const std::string& mode) {
  Device device(mode, c.limits);
  SelectionProblem p = c.problem;
  p.query = c.query.on(device.upload(c.query.bytes));
  p.key = c.key.on(device.upload(c.key.bytes));
  p.keyLengths = c.lengths.empty() ? nullptr : device.upload(c.lengths);
  for (int32_t s = 0; s < p.stages; ++s) {
    p.stage[s].starts = device.upload(c.starts[size_t(s)]);
    p.stage[s].counts = device.upload(c.counts[size_t(s)]);
  }
  cuda::run(p, device.limits(), device.queue(), CancelFlag{false});
  Lists lists;
  for (int32_t s = 0; s < p.stages; ++s) {
    lists.starts.push_back(device.download(p.stage[s].starts.data, c.starts[size_t(s)].size()));
    lists.counts.push_back(device.download(p.stage[s].counts.data, c.counts[size_t(s)].size()));
  }
  return lists;
}

void checkCase(SelectionCase& c, const std::vector<std::string>& modes) {
  if (!cuda::reasonsAgainst(c.problem, c.limits).empty()) return;
  const Lists expected = runOnCpu(c);
  for (const std::string& mode : modes) {
    try {
      const Lists got = runOnDevice(c, mode);
      for (int32_t s = 0; s < c.problem.stages; ++s) {
        CHECK(got.counts[size_t(s)] == expected.counts[size_t(s)], "%s, stage %d, %s", c.name.c_str(), s, mode.c_str());
        CHECK(got.starts[size_t(s)] == expected.starts[size_t(s)], "%s, stage %d, %s", c.name.c_str(), s, mode.c_str());
      }
    } catch (const BackendError& error) {
      CHECK(false, "%s, %s: %s", c.name.c_str(), mode.c_str(), error.what());
    }
  }
}

// What a problem launches.
std::set<std::string> kernelsOf(const SelectionCase& c) {
  NotingQueue queue(1000);
  SelectionProblem p = c.problem;
  p.query = c.query.on(queue.allocate(1));
  p.key = c.key.on(queue.allocate(1));
  cuda::run(p, c.limits, queue, queue.cancel());
  std::set<std::string> names;
  for (const NotedLaunch& launch : queue.launches) names.insert(launch.kernel);
  return names;
}

constexpr const char* kKernels[] = {"split_lists",
                                    "keep_chunks",
                                    "halve_ranges",
                                    "score_fetched_float32",
                                    "score_fetched_float16",
                                    "score_fetched_bfloat16",
                                    "score_resident_float32",
                                    "score_resident_float16",
                                    "score_resident_bfloat16",
                                    "score_tree_float32",
                                    "score_tree_float16",
                                    "score_tree_bfloat16"};

// Problems that launch the kernel; small ones, as most mistakes show in any.
void checkKernel(const std::string& kernel, int problems) {
  int met = 0;
  const auto isAsked = [&](const SelectionProblem& p) {
    const int64_t rows = int64_t(p.batch) * p.outputHeads() * p.keys;
    if (rows * p.headDim > 100'000 || rows * p.queries > 40'000) return false;
    // A warp splits 32 entries at a time: every other problem has lists of the caller's that are as long.
    const bool wantsLists = kernel == "split_lists" && met % 2 == 0;
    return !wantsLists || (p.firstStage > 0 && p.stage[p.firstStage - 1].keep > 32);
  };
  for (uint32_t seed = 0; met < problems && failures == 0 && seed < 100'000; ++seed) {
    const auto c = makeCaseIf(seed, isAsked);
    if (!c || !cuda::reasonsAgainst(c->problem, c->limits).empty() || kernelsOf(*c).count(kernel) == 0) continue;
    ++met;
    checkCase(*c, {"lazy"});
  }
  for (SelectionCase& c : kernel.rfind("score", 0) == 0 ? casesOfScores() : casesOfLists()) {
    if (failures == 0 && kernelsOf(c).count(kernel) > 0) checkCase(c, {"lazy"});
  }
  CHECK(met > 0 || failures > 0, "no problem launches %s", kernel.c_str());
}

// Many keys, of which few are candidates: more working memory than one launch is given.
void checkSlabs() {
  SelectionProblem p;
  p.queryHeads = 8;
  p.headDim = 8;
  p.dtype = p.keyType = DType::bfloat16;
  p.queries = 40;
  p.keys = 600000;
  p.window = p.keys - 100;
  p.stage[0] = {1, 1, 1, 7};
  SelectionCase c = oneStage(p, 1);
  c.name = "slabs";
  checkCase(c, {"lazy"});
}

// More heads in a list than shared memory holds queries of: they come in batches, loaded ahead. Few keys are kept, so
// that every score decides something. Rows are copied by themselves or by threads: seeds of which one has either.
void checkBatches(uint32_t seed, bool isAligned) {
  SelectionProblem p;
  p.queryHeads = 48;
  p.headDim = 128;
  p.dtype = p.keyType = DType::float16;
  p.queries = 16;
  p.keys = 1500;
  p.window = 16;
  p.stage[0] = {16, 1, 8, 5};
  SelectionCase c = oneStage(p, seed);
  CHECK(cuda::hasAlignedRows(c.query.here(), p.dtype) == isAligned, "seed %u makes other rows", seed);
  c.name = isAligned ? "batches, plain rows" : "batches, rows with gaps";
  checkCase(c, {"lazy", "races"});
}

// What cannot run is said, with the number that could.
void checkReasons() {
  SelectionProblem p;
  p.batch = p.queryHeads = p.kvHeads = 1;
  p.queries = p.keys = 100000;
  p.headDim = 64;
  p.stage[0] = {100000, 1, 64, 7};
  const auto reasons = cuda::reasonsAgainst(p, {80, 8, 99 * 1024});
  CHECK(reasons.size() == 1, "%zu reasons", reasons.size());
  p.stage[0].strideQueries = 1000;
  CHECK(cuda::reasonsAgainst(p, {80, 8, 99 * 1024}).empty(), "100 rows fit");
  p.headDim = 513;
  CHECK(cuda::reasonsAgainst(p, {80, 8, 99 * 1024}).size() == 1, "513 dims do not");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "each") {
    for (const char* kernel : kKernels) checkKernel(kernel, argc > 2 ? std::atoi(argv[2]) : 4);
    return finish("kernels of selection");
  }
  if (what == "of" && argc > 2) {
    checkKernel(argv[2], argc > 3 ? std::atoi(argv[3]) : 24);
    return finish("a kernel of selection");
  }
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 60;
  std::vector<std::string> modes(argv + smaller(argc, 2), argv + argc);
  for (int seed = 0; seed < rounds; ++seed) {
    const auto c = makeCaseIf(uint32_t(seed), [](const SelectionProblem&) { return true; });
    checkCase(*c, modes.empty() ? std::vector<std::string>{"lazy", "races,random:" + std::to_string(seed + 1)} : modes);
  }
  for (SelectionCase& c : casesOfScores()) checkCase(c, {"lazy"});
  for (SelectionCase& c : casesOfLists()) checkCase(c, {"lazy"});
  checkSlabs();
  checkBatches(2, false);
  checkBatches(3, true);
  checkReasons();
  return finish("selection on the GPU");
}
