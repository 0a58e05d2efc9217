// Statistics of attention as work items: groups of queries, with all query heads of a KV head, and then the sums of
// what the groups have found. Reader: see core/op/stats.h for the results, strips.inl for a group. Groups depend on the
// problem alone and their sums are added in order, so any number of threads gives the same bits.
#include "job.h"

#include <cstring>

#include "kernels.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

class StatsJob {
 public:
  StatsJob(const StatsProblem& problem, bool isSum, const StatsKernels& kernels)
      : p_(problem), isSum_(isSum), k_(kernels) {
    const int64_t tasks = int64_t(p_.batch) * p_.kvHeads;
    const int64_t wanted = tasks == 0 ? 1 : ceilDiv(kStatsItems, tasks);
    // A block of queries is in one group.
    const Token unit = p_.blockSum ? p_.blockQueries : 1;
    const int64_t fewest = ceilDiv(kFewestStripRows, p_.headsPerKey());
    groupQueries_ = Token(ceilDiv<int64_t>(larger(fewest, ceilDiv<int64_t>(p_.queries, wanted)), unit) * unit);
    groupQueries_ = smaller(groupQueries_, larger<Token>(p_.queries, 1));
    groups_ = larger<int64_t>(1, ceilDiv<int64_t>(p_.queries, groupQueries_));
    if (isSum_) {
      chunks_ = ceilDiv<int64_t>(p_.keys, kAddedKeys);
      items_ = columns() || maxima() || diagonals() ? p_.batch * chunks_ : 0;
      return;
    }
    items_ = tasks * groups_;
    const size_t rows = size_t(p_.batch) * p_.queryHeads * groups_ * p_.keys;
    if (p_.keySum || p_.keySumOverQueries) p_.parts->columns.reset(new float[rows]);
    if (p_.diagSum) p_.parts->diagonals.reset(new float[rows]);
    if (p_.keyMaxOverHeads) p_.parts->maxima.reset(new float[size_t(items_) * p_.keys]);
  }

  int64_t items() const { return items_; }

  void work(int64_t item, Worker& worker) const {
    if (isSum_) return addUp(item / chunks_, item % chunks_);
    const int64_t task = item / groups_, group = item % groups_;
    const int64_t b = task / p_.kvHeads, kvHead = task % p_.kvHeads;
    const Token begin = Token(group) * groupQueries_;
    const int64_t at = partAt(b, kvHead * p_.headsPerKey(), group);
    const StatsItem work{&p_,
                         b,
                         int32_t(kvHead),
                         {begin, smaller<Token>(groupQueries_, p_.queries - begin) + begin},
                         groupQueries_,
                         columns() ? columns() + at : nullptr,
                         diagonals() ? diagonals() + at : nullptr,
                         groups_ * p_.keys,
                         maxima() ? maxima() + item * p_.keys : nullptr,
                         Pause{[](void* it) { return static_cast<Worker*>(it)->pause(); }, &worker}};
    k_.run(work, worker.floats(k_.scratchFloats(p_, groupQueries_)));
  }

 private:
  float* columns() const { return p_.parts->columns.get(); }
  float* diagonals() const { return p_.parts->diagonals.get(); }
  float* maxima() const { return p_.parts->maxima.get(); }
  int64_t partAt(int64_t b, int64_t head, int64_t group) const {
    return ((b * p_.queryHeads + head) * groups_ + group) * p_.keys;
  }

  // Of some keys of a batch entry.
  void addUp(int64_t b, int64_t chunk) const {
    const int64_t begin = chunk * kAddedKeys, count = smaller(kAddedKeys, p_.keys - begin);
    const size_t bytes = size_t(count) * sizeof(float);
    float* const all = p_.keySum ? p_.keySum + b * p_.keys + begin : nullptr;
    if (all) std::memset(all, 0, bytes);
    float sum[kAddedKeys];
    for (int32_t head = 0; head < p_.queryHeads; ++head) {
      const int64_t row = (b * p_.queryHeads + head) * p_.keys + begin;
      if (columns()) {
        addGroups(columns() + partAt(b, head, 0) + begin, count, sum);
        if (p_.keySumOverQueries) std::memcpy(p_.keySumOverQueries + row, sum, bytes);
        for (int64_t i = 0; all && i < count; ++i) all[i] += sum[i];
      }
      if (p_.diagSum) addGroups(diagonals() + partAt(b, head, 0) + begin, count, p_.diagSum + row);
    }
    if (!p_.keyMaxOverHeads) return;
    const float* const first = maxima() + b * p_.kvHeads * groups_ * p_.keys + begin;
    float* const to = p_.keyMaxOverHeads + b * p_.keys + begin;
    std::memcpy(to, first, bytes);
    for (int64_t part = 1; part < p_.kvHeads * groups_; ++part) {
      for (int64_t i = 0; i < count; ++i) to[i] = larger(to[i], first[part * p_.keys + i]);
    }
  }

  // to = the sum of a head's groups.
  void addGroups(const float* from, int64_t count, float* to) const {
    std::memcpy(to, from, size_t(count) * sizeof(float));
    for (int64_t group = 1; group < groups_; ++group) {
      for (int64_t i = 0; i < count; ++i) to[i] += from[group * p_.keys + i];
    }
  }

  const StatsProblem p_;
  const bool isSum_;
  const StatsKernels& k_;
  Token groupQueries_ = 1;
  int64_t groups_ = 1, chunks_ = 1, items_ = 0;
};

}  // namespace

const StatsKernels& statsKernels([[maybe_unused]] const Kernels& kernels) {
#if defined(TILEWISE_X86)
  if (std::strcmp(kernels.name, kStatsAvx512.name) == 0) return kStatsAvx512;
  if (std::strcmp(kernels.name, kStatsAvx2.name) == 0) return kStatsAvx2;
#elif defined(TILEWISE_NEON)
  if (std::strcmp(kernels.name, kStatsNeon.name) == 0) return kStatsNeon;
#endif
  return kStatsPortable;
}

void addReasons(Reasons&, const StatsProblem&) {}

double flopsOf(const StatsProblem& p) {
  const double seen = p.isCausal && p.queries > 1 ? larger<Token>(0, p.keys - p.queries / 2) : p.keys;
  return 2.0 * p.batch * p.queryHeads * p.queries * seen * p.headDim;
}

int32_t jobsOf(const StatsProblem&) { return 2; }

std::shared_ptr<Job> jobOf(const StatsProblem& problem, int32_t index, const Kernels& kernels, int) {
  const auto stats = std::make_shared<const StatsJob>(problem, index == 1, statsKernels(kernels));
  const auto job = std::make_shared<Job>();
  job->items = stats->items();
  job->work = [stats](int64_t item, Worker& worker) { stats->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
