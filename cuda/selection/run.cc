// Selection on a GPU: stage after stage, slab after slab of query blocks, as many at once as the working memory holds.
// Reader: someone who asks how work is divided, or why a problem is refused. The kernels' part is in params.h.
#include "run.h"

#include <string>
#include <type_traits>
#include <vector>

#include "../machine/aligned_rows.h"
#include "params.h"

namespace tilewise::cuda {
namespace {

constexpr int32_t kMaxDim = 512;

int32_t roundUp(int64_t x, int32_t to) { return int32_t((x + to - 1) / to * to); }
int32_t halvings(int64_t size) {
  int32_t n = 0;
  while ((int64_t(1) << n) < size) ++n;
  return n;
}

// How one stage is cut into blocks of threads, and what they keep in shared memory.
class LaunchPlan {
 public:
  LaunchPlan(const SelectionProblem& problem, int32_t stage, const Limits& limits) : limits_(limits) {
    p.problem = problem;
    p.stage = stage;
    p.isQueryAligned = hasAlignedRows(problem.query, problem.dtype);
    p.isKeyAligned = hasAlignedRows(problem.key, problem.dtype);
    const SelectionStage& now = p.now();
    const int64_t chunks = ceilDiv<int64_t>(larger<Token>(0, problem.keys - problem.sink), now.chunk);
    p.candidates = isTree()     ? smaller<int64_t>(chunks, 2 * int64_t(now.keep))
                   : stage == 0 ? chunks
                                : smaller(chunks, problem.stage[stage - 1].chunk / now.chunk * int64_t(beforeKeep()));
    rounds = isTree() ? halvings(ceilDiv<int64_t>(chunks, now.keep)) : 0;
    shapeRows();
    isResident = shapeResident();
    fits = isResident || shapeFetched();
    if (fits) shareCandidates();
  }

  // The most sampled queries of a block that shared memory can hold.
  int32_t mostRows() const {
    const int64_t left = limits_.sharedBytesPerBlock - kChunksPerWarp * fetchedPitch();
    return int32_t(larger<int64_t>(0, left / p.search.queryPitch));
  }

  bool isTree() const { return p.problem.method == SelectionMethod::tree; }
  int64_t groups() const { return p.groupsPerList() * p.problem.lists() * p.problem.batch; }
  int64_t bytesPerSlot() const {
    const int64_t perCandidate = 4 * int64_t(p.problem.headsPerList) + (isTree()      ? 2 * sizeof(Range)
                                                                        : p.stage > 0 ? sizeof(Token)
                                                                                      : 0);
    return p.candidates * perCandidate + 4;
  }
  // Groups of one launch.
  int64_t slab() const {
    const int64_t bySpace = kWorkspaceBytes / (bytesPerSlot() * p.blocksPerGroup);
    const int64_t byGrid = kMaxBlocks / larger(p.search.ranges, p.blocksPerGroup);
    return clamp<int64_t>(smaller(bySpace, byGrid), 1, larger<int64_t>(groups(), 1));
  }

  SelectionParams p{};
  int32_t rounds;  // of tree
  bool isResident, fits;
  int64_t sharedBytes = 0;

 private:
  Token beforeKeep() const { return p.problem.stage[p.stage - 1].keep; }
  int32_t pairsPerBlock() const { return p.problem.headsPerList; }
  int64_t pairs() const { return int64_t(pairsPerBlock()) * p.blocksPerGroup; }
  int64_t fetchedPitch() const { return 2 * int64_t(p.search.keyPitch) + 16; }

  void shapeRows() {
    const SelectionProblem& problem = p.problem;
    const int64_t row = problem.headDim * sizeOf(problem.dtype);
    p.search.pieces = roundUp(row, 32) / 16;
    p.search.keyPitch = roundUp(row, 128);
    p.search.queryPitch = roundUp(row, 32) + 16;
    const Token queries = smaller(problem.queries, p.now().blockQueries);
    p.search.rowsPerPair = ceilDiv(queries, p.now().strideQueries);
    p.blocksPerGroup = 1;
  }

  // Keeps whole chunks in shared memory if the searches that share them would otherwise fetch twice as many keys. Small
  // chunks too: copying them at once costs hardly more than step by step.
  bool shapeResident() {
    const SelectionProblem& problem = p.problem;
    const int64_t chunk = p.now().chunk;
    const bool isOneKvHead = problem.outputHeads() / problem.kvHeads % problem.headsPerList == 0;
    if (isTree() || !isOneKvHead) return false;
    if (p.stage == 0) p.blocksPerGroup = clamp<Token>(problem.blocks(0), 1, kBlocksPerGroup);
    const int64_t fetches = 2 * int64_t(halvings(chunk)) * pairsPerBlock() * p.blocksPerGroup;
    const bool isWorth = fetches >= 2 * chunk || chunk <= kChunksPerWarp;
    if (isWorth && chunk <= limits_.sharedBytesPerBlock / p.search.keyPitch) {
      p.search.chunkPitch = int32_t(chunk * p.search.keyPitch + 16);
      p.search.searchers = kSearchWarps;
      for (int32_t chunks = chunksForAllWarps(); chunks > 0; chunks -= kChunksPerWarp) {
        const bool isLeast = chunks == kChunksPerWarp;
        // Two thread blocks per multiprocessor, where that is possible.
        const bool fits = fitQueries(chunks, chunks, limits_.sharedBytesPerBlock / (isLeast ? 1 : 2));
        const bool isIdle = p.search.pairsPerBatch < pairs() && p.search.pairsPerBatch * chunks < kIdleBelow;
        if (fits && !isIdle) return true;
      }
    }
    p.blocksPerGroup = 1;
    return false;
  }

  // Keeps two keys of each chunk, for as many warps as have room.
  bool shapeFetched() {
    p.search.chunkPitch = int32_t(fetchedPitch());
    for (p.search.searchers = kSearchWarps; p.search.searchers > 0; p.search.searchers /= 2) {
      const int64_t rows = int64_t(p.search.searchers) * kChunksPerWarp;
      if (fitQueries(chunksForAllWarps(), rows, limits_.sharedBytesPerBlock)) return true;
    }
    return false;
  }

  int32_t chunksForAllWarps() const {
    return kChunksPerWarp * int32_t(ceilDiv<int64_t>(kSearchWarps, smaller<int64_t>(pairs(), kSearchWarps)));
  }

  // Puts all pairs, or one batch of them, or two, after `chunks` chunks of keys. False: there is no room.
  bool fitQueries(int32_t chunksPerTile, int64_t chunks, int64_t bytes) {
    SearchShape& s = p.search;
    const int64_t keyBytes = chunks * s.chunkPitch;
    const int64_t pairBytes = larger<int64_t>(int64_t(s.rowsPerPair) * s.queryPitch, 1);
    const int64_t fit = (bytes - keyBytes) / pairBytes;
    const int64_t batch = fit >= pairs() ? pairs() : smaller<int64_t>(fit, kPairsPerBatch);
    if (batch <= 0) return false;
    s.chunksPerTile = chunksPerTile;
    s.queryOffset = int32_t(keyBytes);
    s.pairsPerBatch = int32_t(batch);
    s.isAhead = batch < pairs() && fit >= 2 * kPairsPerBatch;
    sharedBytes = keyBytes + (s.isAhead ? 2 : 1) * batch * pairBytes;
    return true;
  }

  // Makes enough thread blocks for the machine. With more work than that, each block keeps its query rows for more
  // tiles.
  void shareCandidates() {
    const int64_t enough = int64_t(limits_.multiprocessors) * kBlocksPerMultiprocessor;
    const int64_t tiles = larger<int64_t>(1, ceilDiv<int64_t>(p.candidates, p.search.chunksPerTile));
    // groups() * tiles overflows for problems that are too large for any launch: compared by division.
    while (p.blocksPerGroup / 2 * int64_t(pairsPerBlock()) >= kSearchWarps &&
           groups() < ceilDiv<int64_t>(enough, tiles)) {
      p.blocksPerGroup /= 2;
    }
    const int64_t most = smaller<int64_t>(tiles, kTilesPerBlock);
    const bool haveMost = groups() >= ceilDiv<int64_t>(enough * most, tiles);
    p.search.tilesPerBlock = int32_t(haveMost ? most : larger<int64_t>(1, groups() * tiles / enough));
    p.search.ranges = int32_t(ceilDiv<int64_t>(tiles, p.search.tilesPerBlock));
  }

  const Limits& limits_;
};

// Launches of one stage.
class StageRun {
 public:
  StageRun(const LaunchPlan& plan, Queue& queue, char* workspace) : plan_(plan), p_(plan.p), queue_(queue) {
    const int64_t slots = plan.slab() * p_.blocksPerGroup;
    const auto take = [&](auto*& array, int64_t perSlot) {
      array = reinterpret_cast<std::remove_reference_t<decltype(array)>>(workspace);
      workspace += (slots * perSlot * int64_t(sizeof *array) + 15) / 16 * 16;
    };
    take(p_.counts, 1);
    take(p_.ranks, p_.candidates * p_.problem.headsPerList);
    if (plan.isTree()) {
      take(p_.kept, p_.candidates);
      take(p_.halves, p_.candidates);
    } else if (p_.stage > 0) {
      take(p_.starts, p_.candidates);
    }
  }
  static int64_t bytes(const LaunchPlan& plan) {
    return plan.slab() * plan.p.blocksPerGroup * plan.bytesPerSlot() + 5 * 16;
  }

  void run(const CancelFlag& cancel) {
    for (p_.firstGroup = 0; p_.firstGroup < plan_.groups() && !cancel; p_.firstGroup += plan_.slab()) {
      groups_ = smaller(plan_.slab(), plan_.groups() - p_.firstGroup);
      p_.slots = groups_ * p_.blocksPerGroup;
      plan_.isTree() ? runTree(cancel) : runStaged();
    }
  }

 private:
  void runStaged() {
    if (p_.stage > 0) launch("split_lists", ceilDiv<int64_t>(p_.slots, kSplitThreads / 32), kSplitThreads, 0);
    score(plan_.isResident ? "score_resident_" : "score_fetched_");
    keepLists("keep_chunks");
  }
  void runTree(const CancelFlag& cancel) {
    for (int32_t round = 0; round <= plan_.rounds && !cancel; ++round) {
      p_.isFirst = round == 0;
      p_.isLast = round == plan_.rounds;
      if (!p_.isFirst) score("score_tree_");
      keepLists("halve_ranges");
    }
  }

  void score(const std::string& kernel) {
    if (p_.candidates == 0) return;
    launch((kernel + nameOf(p_.problem.dtype)).c_str(), groups_ * p_.search.ranges, kSearchThreads, plan_.sharedBytes);
  }
  void keepLists(const char* kernel) { launch(kernel, p_.slots, kListThreads, kListSharedBytes); }

  void launch(const char* kernel, int64_t blocks, uint32_t threads, int64_t sharedBytes) {
    Launch launch;
    launch.module = "selection";
    launch.kernel = kernel;
    launch.blocks = uint32_t(blocks);
    launch.threads = threads;
    launch.sharedBytes = uint32_t(sharedBytes);
    launch.params = &p_;
    launch.paramBytes = sizeof p_;
    queue_.launch(launch);
  }

  const LaunchPlan& plan_;
  SelectionParams p_;
  Queue& queue_;
  int64_t groups_ = 0;
};

}  // namespace

void run(const SelectionProblem& problem, const Limits& limits, Queue& queue, const CancelFlag& cancel) {
  std::vector<LaunchPlan> plans;
  int64_t bytes = 0;
  for (int32_t stage = problem.firstStage; stage < problem.stages; ++stage) {
    plans.emplace_back(problem, stage, limits);
    bytes = larger(bytes, StageRun::bytes(plans.back()));
  }
  char* const workspace = static_cast<char*>(queue.allocate(bytes));
  for (const LaunchPlan& plan : plans) StageRun(plan, queue, workspace).run(cancel);
}

void addReasons(Reasons& reasons, const SelectionProblem& problem, const Limits& limits) {
  reasons.range("headDim", problem.headDim, 1, kMaxDim);
  if (!reasons.all().empty()) return;  // no plan has such rows
  const std::string where =
      " with headDim " + std::to_string(problem.headDim) + " in " + nameOf(problem.dtype) + " on this device";
  for (int32_t stage = 0; stage < problem.stages; ++stage) {
    const LaunchPlan plan(problem, stage, limits);
    if (!plan.fits) reasons.range("queries sampled of a block", plan.p.search.rowsPerPair, 0, plan.mostRows(), where);
  }
}

}  // namespace tilewise::cuda
