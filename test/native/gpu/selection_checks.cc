// Selection on the emulated GPU gives the CPU's lists, entry by entry: on integers, whose sums are exact, with ties.
// Reader: someone who changes the kernels or their plan. The CPU's lists are checked against the rule elsewhere
// (test/native/cpu/select_checks.cc). Usage: selection_checks [rounds] [the emulator's modes ...]; selection_checks
// each [problems]: so many for each kernel; or selection_checks of <kernel> [problems]: problems that launch this
// kernel, up to the first that goes wrong.
#include <cmath>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "../../../cpu/backend.h"
#include "../../../cuda/backend.h"
#include "../../../cuda/operations.h"
#include "../../../cuda/machine/aligned_rows.h"
#include "../check.h"
#include "noting_queue.h"
#include "operands.h"

using namespace tilewise;

namespace {

struct Case {
  SelectionProblem problem;
  OwnOperand query, key;
  std::vector<int32_t> lengths;
  std::vector<std::vector<int32_t>> starts, counts;  // before the call
  cuda::Limits limits;
  std::string name;
};

struct Lists {
  std::vector<std::vector<int32_t>> starts, counts;
};

int64_t listsOf(const SelectionProblem& p, int32_t s) { return int64_t(p.batch) * p.lists() * p.blocks(s); }

// What the caller holds where a list is expected that was never written, or was for other keys.
void fillWithAnything(Pick& pick, const SelectionProblem& p, int32_t s, Case& c) {
  const int32_t kind = pick(3);  // as they are written; overlapping; anything
  for (size_t list = 0; list < c.counts[size_t(s)].size(); ++list) {
    c.counts[size_t(s)][list] = kind == 2 ? pick(90) - 5 : pick(p.stage[s].keep + 1);
    int32_t start = p.sink;
    for (Token e = 0; e < p.stage[s].keep; ++e) {
      c.starts[size_t(s)][list * size_t(p.stage[s].keep) + size_t(e)] = kind < 2        ? start
                                                                        : pick(10) == 0 ? kNoEntry
                                                                                        : pick(p.keys + 20) - 10;
      start += kind == 0 ? p.stage[s].chunk * (1 + pick(3)) : 1 + pick(2 * p.stage[s].chunk);
    }
  }
}

// Null, before any number is drawn, where the shape is not one that is looked for.
template <class IsAsked>
std::unique_ptr<Case> makeCaseIf(uint32_t seed, IsAsked isAsked) {
  auto made = std::make_unique<Case>();
  Case& c = *made;
  Pick pick(seed);
  SelectionProblem& p = c.problem;
  const int32_t dims[] = {1, 7, 16, 24, 40, 64, 64, 128, 200, 512}, ratios[] = {1, 1, 2, 3, 4};
  p.batch = 1 + pick(2);
  const int32_t fewer = 1 + pick(2), more = fewer * pick.of(ratios);
  const bool isReverse = pick(4) == 0;
  p.queryHeads = isReverse ? fewer : more;
  p.kvHeads = isReverse ? more : fewer;
  p.pairing = Pairing(pick(2));
  const int32_t scopes[] = {1, p.outputHeads() / p.kvHeads, p.outputHeads()};
  p.headsPerList = pick.of(scopes);
  p.headDim = pick(4) ? pick.of(dims) : 1 + pick(200);  // a part of any piece of a row may be full
  p.dtype = p.keyType = DType(pick(3));
  p.method = SelectionMethod(pick(4) == 0);
  const bool isTree = p.method == SelectionMethod::tree;
  p.queries = 1 + pick(pick(2) ? 4 : 90);
  p.keys = p.queries + pick(pick(3) ? 300 : 900);
  p.sink = pick(20);
  p.stages = isTree ? 1 : 1 + pick(3);
  p.strideKeys = 1 + pick(3);
  const Token treeBlocks[] = {1, 2, 3, 8}, chunks[] = {1, 6, 8, 16, 32, 64, 256}, blocks[] = {1, 4, 16, 40, 64};
  Token queries = pick.of(blocks), chunk = isTree ? pick.of(treeBlocks) : pick.of(chunks);
  p.window = queries + pick(60);
  c.starts.resize(size_t(p.stages));
  c.counts.resize(size_t(p.stages));
  for (int32_t s = 0; s < p.stages; ++s) {
    p.stage[s].blockQueries = queries;
    p.stage[s].strideQueries = 1 + pick(4);
    p.stage[s].chunk = chunk;
    p.stage[s].keep = 1 + pick(pick(isTree ? 4 : 2) ? 12 : 300);
    c.starts[size_t(s)].assign(size_t(listsOf(p, s) * p.stage[s].keep), -1);
    c.counts[size_t(s)].assign(size_t(listsOf(p, s)), -1);
    if (queries % 2 == 0 && pick(2)) queries /= 2;
    for (const Token divisor : {8, 2}) {
      if (chunk % divisor == 0 && pick(2)) chunk /= divisor;
    }
  }
  p.firstStage = pick(2) ? pick(p.stages) : 0;
  if (!isAsked(p)) return nullptr;
  if (p.firstStage > 0) fillWithAnything(pick, p, p.firstStage - 1, c);
  if (pick(4) == 0) {
    for (int32_t b = 0; b < p.batch; ++b) c.lengths.push_back(pick(p.keys + 1));
  }
  // Few values make ties; a NaN or an infinity now and then.
  const int32_t most = 1 + pick(8);
  const bool isWild = pick(6) == 0;
  const auto number = [&]() -> float {
    if (isWild && pick(60) == 0) return pick(2) ? NAN : pick(2) ? INFINITY : -INFINITY;
    return float(pick(2 * most + 1) - most);
  };
  c.query = makeOperand(pick, {p.batch, p.queries, p.queryHeads, p.headDim}, p.dtype, false, number);
  c.key = makeOperand(pick, {p.batch, p.keys, p.kvHeads, p.headDim}, p.dtype, false, number);
  const int32_t processors[] = {1, 8, 132};
  const int64_t shared[] = {12 * 1024, 99 * 1024, 163 * 1024, 227 * 1024};  // of 12 KiB, query rows come in batches
  c.limits = {80, pick.of(processors), pick.of(shared)};
  c.name = "seed " + std::to_string(seed) + ": " + nameOf(p.dtype) + (isTree ? ", tree" : ", staged") + ", heads " +
           std::to_string(p.queryHeads) + "/" + std::to_string(p.kvHeads) + " by " + std::to_string(p.headsPerList) +
           ", queries " + std::to_string(p.queries) + ", keys " + std::to_string(p.keys) + ", dim " +
           std::to_string(p.headDim);
  return made;
}

Lists runOnCpu(Case& c) {
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

Lists runOnDevice(const Case& c, const std::string& mode) {
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

void checkCase(Case& c, const std::vector<std::string>& modes) {
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
std::set<std::string> kernelsOf(const Case& c) {
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

// A problem of one list for all heads and one stage: room for its lists, small integers for its operands, with ties.
Case oneStage(const SelectionProblem& problem, uint32_t seed) {
  Case c;
  SelectionProblem& p = c.problem = problem;
  p.batch = p.kvHeads = p.stages = 1;
  p.headsPerList = p.queryHeads;
  const size_t lists = size_t(listsOf(p, 0));
  c.starts = {std::vector<int32_t>(lists * size_t(p.stage[0].keep), -1)};
  c.counts = {std::vector<int32_t>(lists, -1)};
  Pick pick(seed);
  const auto number = [&] { return float(pick(9) - 4); };
  c.query = makeOperand(pick, {1, p.queries, p.queryHeads, p.headDim}, p.dtype, false, number);
  c.key = makeOperand(pick, {1, p.keys, 1, p.headDim}, p.dtype, false, number);
  c.limits = {80, 1, 99 * 1024};
  return c;
}

constexpr SelectionMethod kMethods[] = {SelectionMethod::staged, SelectionMethod::tree};

// More candidates than four passes of a thread block take, as loops are unrolled so far: with and without passes
// left over, with ties, and without, where one that is counted twice, or missed, costs another its place.
Case manyCandidates(SelectionMethod method, Token keys, Token keep, bool hasTies) {
  SelectionProblem p;
  p.queryHeads = 2;
  p.headDim = 8;
  p.method = method;
  p.queries = p.window = 8;
  p.keys = keys;
  p.stage[0] = {4, 1, 1, keep};
  Case c = oneStage(p, 1);
  for (int32_t t = 0, score = 0; !hasTies && t < keys; ++t) {
    score = (score + 1201) % keys;
    for (int32_t d = 0; d < p.headDim; ++d) c.key.set(c.key.at(0, t, 0, d), d == 0 ? float(score) : 0);
  }
  for (int32_t t = 0; !hasTies && t < p.queries; ++t)
    for (int32_t h = 0; h < p.queryHeads; ++h) c.query.set(c.query.at(0, t, h, 0), float(1 + t + h));
  c.name = std::to_string(keys) + " candidates, " + std::to_string(keep) + " to keep";
  return c;
}
std::vector<Case> manyCandidates(SelectionMethod method) {
  const Token few = method == SelectionMethod::tree ? 1200 : 100;
  return {manyCandidates(method, 3000, few, true), manyCandidates(method, 2700, few, true),
          manyCandidates(method, 2700, 1300, false), manyCandidates(method, 2700, 2800, false)};
}

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
  for (const SelectionMethod method : kMethods)
    for (Case& c : manyCandidates(method)) {
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
  Case c = oneStage(p, 1);
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
  Case c = oneStage(p, seed);
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
  for (const SelectionMethod method : kMethods)
    for (Case& c : manyCandidates(method)) checkCase(c, {"lazy"});
  checkSlabs();
  checkBatches(2, false);
  checkBatches(3, true);
  checkReasons();
  return finish("selection on the GPU");
}
