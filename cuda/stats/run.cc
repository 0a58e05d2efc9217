// Statistics of attention on a GPU: by rows, then by columns and along diagonals, as far as results are wanted.
// Reader: someone who asks what is launched, and what memory it takes; the kernels are rows.h, columns.h, diagonals.h
// and top_keys.h.
#include "run.h"

#include <string>

#include "../machine/aligned_rows.h"
#include "../machine/launch_all.h"
#include "../tiles/best_shape.h"
#include "params.h"

namespace tilewise::cuda {
namespace {

// Bytes of numbers that warps share: sums and maxima of four warps, or a tile of probabilities.
constexpr int64_t kColumnBytes = 2 * 4 * kStatsTile * 4, kDiagonalBytes = kStatsTile * (kStatsTile + 1) * 4;

class StatsLaunches {
 public:
  StatsLaunches(const StatsProblem& problem, const Limits& limits, Queue& queue, const CancelFlag& cancel)
      : problem_(problem), limits_(limits), queue_(queue), cancel_(cancel), type_(nameOf(problem.dtype)) {
    p_.call = problem;
    p_.isQueryAligned = hasAlignedRows(problem.query, problem.dtype);
    p_.isKeyAligned = hasAlignedRows(problem.key, problem.dtype);
    tasks_ = int64_t(problem.batch) * problem.queryHeads;
  }

  void run() {
    const StatsCall& c = p_.call;
    p_.lse = c.givenLse;
    if (!c.givenLse && c.needsProbs()) p_.lse = p_.lseOut = c.lse ? c.lse.data : floats(tasks_ * c.queries);
    if (c.topIndices) {
      findTopKeys();
    } else if (p_.lseOut || c.scores) {
      p_.scores = c.scores;
      p_.areScoresOfAll = true;
      scoreRows(0, tiles());
    }
    if (c.keys == 0) return;
    if (c.keySum || c.keySumOverQueries || c.keyMaxOverHeads || c.probs) addColumns();
    if (c.blockSum) addBlocks();
    if (c.diagSum) launch("stats_diagonals_" + type_, tasks_ * p_.keyTiles(), kDiagonalBytes);
  }

 private:
  int64_t tiles() const { return tasks_ * p_.queryTiles(); }
  float* floats(int64_t count) { return static_cast<float*>(queue_.allocate(count * int64_t(sizeof(float)))); }

  void launch(const std::string& kernel, int64_t work, int64_t numberBytes, int64_t first = 0) {
    const int64_t tile = int64_t(kStatsTile) * kStatsTile * sizeOf(problem_.dtype);
    const int64_t strips = ceilDiv(problem_.headDim, kStatsTile);
    const bool doStay = (strips + 1) * tile + numberBytes <= limits_.sharedBytesPerBlock;
    p_.tiles.kept = doStay ? int32_t(strips) : 1;
    p_.tiles.passing = int32_t(p_.tiles.kept * tile);
    p_.tiles.numbers = int32_t((p_.tiles.kept + 1) * tile);
    p_.firstBlock = first;
    launchAll(queue_, cancel_, "stats", kernel, kStatsThreads, p_, p_.firstBlock, work, 1,
              p_.tiles.numbers + numberBytes);
  }

  void scoreRows(int64_t begin, int64_t end) { launch("stats_rows_" + type_, end, kColumnBytes, begin); }

  // Slice by slice, unless scores are wanted anyway.
  void findTopKeys() {
    const StatsCall& c = p_.call;
    const int64_t perTile = larger<int64_t>(1, int64_t(kStatsTile) * c.keys);
    p_.areScoresOfAll = c.scores.data != nullptr;
    const int64_t enough = larger<int64_t>(kStatsSliceFloats / perTile, limits_.multiprocessors);
    const int64_t most = p_.areScoresOfAll ? tiles() : smaller(enough, kMostStatsSliceFloats / perTile);
    const int64_t slice = clamp<int64_t>(most, 1, tiles());
    p_.scores = p_.areScoresOfAll ? c.scores.data : floats(slice * perTile);
    for (int64_t begin = 0; begin < tiles() && !cancel_; begin += slice) {
      const int64_t end = smaller(tiles(), begin + slice);
      p_.firstTile = begin;
      scoreRows(begin, end);
      p_.firstBlock = 0;
      launchAll(queue_, cancel_, "stats", "stats_top_keys", kListThreads, p_, p_.firstBlock, (end - begin) * kStatsTile,
                1, kListSharedBytes);
    }
  }

  void addColumns() {
    const StatsCall& c = p_.call;
    const int64_t items = tasks_ * p_.keyTiles(), enough = kStatsBlocks * limits_.multiprocessors;
    const int64_t most = clamp<int64_t>(enough / larger<int64_t>(items, 1), 1, kMostStatsGroups);
    p_.groupQueries = larger(kLeastStatsGroup, Token(ceilDiv<int64_t>(c.queries, most)));
    p_.groupQueries = ceilDiv(p_.groupQueries, kStatsTile) * kStatsTile;
    p_.groups = ceilDiv(c.queries, p_.groupQueries);
    const int64_t parts = p_.partAt(tasks_, 0);
    if (c.keySum || c.keySumOverQueries) p_.columns = floats(parts);
    if (c.keyMaxOverHeads) p_.maxima = floats(parts);
    launch("stats_columns_" + type_, items * p_.groups, kColumnBytes);
    if (!p_.columns && !p_.maxima) return;
    p_.firstBlock = 0;
    launchAll(queue_, cancel_, "stats", "stats_parts", kStatsSumThreads, p_, p_.firstBlock,
              ceilDiv<int64_t>(int64_t(c.batch) * c.keys, kStatsSumThreads), 1);
  }

  void addBlocks() {
    const StatsCall& c = p_.call;
    p_.blocksPerSpan = larger(1, kStatsTile / c.blockKeys);
    p_.span = smaller<int64_t>(kMaxTokens, int64_t(p_.blocksPerSpan) * c.blockKeys);
    p_.spans = ceilDiv(c.keyBlocks(), p_.blocksPerSpan);
    launch("stats_columns_" + type_, tasks_ * c.queryBlocks() * p_.spans, kColumnBytes);
    p_.span = 0;
  }

  const StatsProblem& problem_;
  const Limits& limits_;
  Queue& queue_;
  const CancelFlag& cancel_;
  const std::string type_;
  int64_t tasks_ = 0;
  StatsParams p_{};
};

}  // namespace

void addReasons(Reasons&, const StatsProblem&, const Limits&) {}

void run(const StatsProblem& problem, const Limits& limits, Queue& queue, const CancelFlag& cancel) {
  StatsLaunches(problem, limits, queue, cancel).run();
}

}  // namespace tilewise::cuda
