// One attention call as work items: query tiles where there are many rows, splits of the keys where there are few.
// Reader: someone who wants to know what runs where. No choice here depends on the number of threads in a way that
// changes a bit of the result: tiles are independent, splits are by position and are merged in order.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <vector>

#include "../../core/base/softmax.h"
#include "../../core/plan/range_runs.h"
#include "job.h"
#include "key_lengths.h"
#include "range_tiles.h"
#include "tuning.h"
#include "tiling.h"

namespace tilewise::cpu {

namespace {

// Keys that a decode step of this sequence visits, about: what its splits are made for.
Token decodedKeys(const AttentionProblem& p, const Sequence& s) {
  return withPattern(p, s, [](const auto& pattern) { return pattern.visitedKeys(); });
}

// Consecutive items that belong to one sequence: tiles, and within each its KV heads; or bundles of KV heads, and
// within each its key splits.
struct SequenceItems {
  Sequence sequence;
  int64_t firstItem;
  Tiling tiling;
  int32_t groupsPerBundle;
  int64_t perBundle;
  Token chunk;      // decode: keys per split
  int32_t chunks;
  EffectTable effects;  // memory of effects_, once all sequences are known
  // Decode whose splits are separate items: index of the first partial result and of the first bundle counter.
  int64_t firstPartial, firstCounter;
};

class AttentionJob {
 public:
  AttentionJob(const AttentionProblem& problem, const Kernels& kernels, int threads)
      : problem_(problem), kernels_(kernels) {
    runs_.plan(problem_, RangeTiles(problem_).queries);
    const AttentionProblem& p = problem_;
    for (int32_t s = 0; s < p.sequences; ++s) {
      const Sequence sequence = p.sequence(s);
      if (!sequence.queries.isEmpty()) add(sequence, threads);
    }
    // Decode divides keys when it reads them.
    const auto reads = [](const SequenceItems& s) { return !s.tiling.isDecode; };
    if (p.cosine.isUsed && std::any_of(sequences_.begin(), sequences_.end(), reads)) lengths_.plan(problem_);
    partials_.resize(size_t(partialCount_) * partialFloats_);
    shareEffects();
    finished_ = std::vector<std::atomic<int32_t>>(size_t(splitBundles_));
  }

  int64_t items() const { return lengths_.items() + items_; }

  void work(int64_t item, Worker& worker) {
    if (item < lengths_.items()) return lengths_.work(item, problem_, kernels_, worker);
    if (!lengths_.wait(worker)) return;
    item -= lengths_.items();
    size_t low = 0, high = sequences_.size();
    while (high - low > 1) {
      const size_t middle = (low + high) / 2;
      (sequences_[middle].firstItem <= item ? low : high) = middle;
    }
    const SequenceItems& s = sequences_[low];
    const int64_t local = item - s.firstItem;
    if (s.tiling.isDecode) {
      decode(s, int32_t(local / s.perBundle), local % s.perBundle, worker);
    } else {
      // All heads of a tile, then the next tile: heads that are side by side share pages, and some of them a bias. That
      // takes 0.87 (documents, 2048 tokens), 0.92 (a bias), 0.97 (causal), 1.00 (none, or 8192 tokens) of the time of
      // all tiles of a head first. Causal: the longest tiles first.
      const int32_t heads = s.tiling.shape.heads, columns = s.tiling.maps / heads;
      tile(s, int32_t(local % columns) * heads, s.tiling.tiles - 1 - local / columns, worker);
    }
  }

 private:
  static Pause pauseOf(Worker& worker) {
    return {[](void* w) { return static_cast<Worker*>(w)->pause(); }, &worker};
  }

  void add(const Sequence& sequence, int threads) {
    const AttentionProblem& p = problem_;
    const Token keys = sequence.keys.size();
    SequenceItems s{};
    s.sequence = sequence;
    s.firstItem = items_;
    s.tiling = tilingOf(p, sequence, kernels_, threads);
    const int32_t groups = s.tiling.maps;
    s.groupsPerBundle = s.tiling.shape.heads;
    s.perBundle = s.tiling.tiles;
    if (s.tiling.isDecode) {
      s.groupsPerBundle = smaller(groups, headsBeside(p));
      const Token splits = clamp<Token>(ceilDiv(decodedKeys(p, sequence), kDecodeChunk), 1, kDecodeMaxChunks);
      s.chunk = larger<Token>(kDecodeChunk, ceilDiv<Token>(ceilDiv(keys, splits), 64) * 64);
      s.chunks = larger<Token>(1, ceilDiv(keys, s.chunk));
      // Enough bundles to keep the threads busy: one item walks a bundle's splits itself, and no buffer is needed.
      const int64_t bundles = ceilDiv(groups, s.groupsPerBundle);
      const bool isSplit = s.chunks > 1 && bundles * p.sequences < 4 * int64_t(threads);
      s.perBundle = isSplit ? s.chunks : 1;
      if (isSplit) {
        s.firstPartial = partialCount_;
        s.firstCounter = splitBundles_;
        splitBundles_ += bundles;
        partialCount_ += bundles * s.chunks;
        partialFloats_ = larger(partialFloats_, partialSize(s));
      }
    }
    items_ += s.perBundle * ceilDiv(groups, s.groupsPerBundle);
    sequences_.push_back(s);
  }

  // Room for what the heads of each sequence can tell each other about masks. Not where there would be much of it: then
  // looking is little beside what is computed.
  void shareEffects() {
    const AttentionProblem& p = problem_;
    if (!p.rules.areAny() || !p.rules.areSameForHeads() || !traitsOf(p).isDense) return;
    std::vector<int64_t> bytes;
    for (const SequenceItems& s : sequences_) {
      const int64_t panels = ceilDiv<int64_t>(s.tiling.map.rows(s.sequence.queries.size()), s.tiling.kernels->panel);
      bytes.push_back(s.tiling.isDecode ? 0 : panels * ceilDiv(s.sequence.keys.size(), kEffectKeys));
    }
    const int64_t all = std::accumulate(bytes.begin(), bytes.end(), int64_t(0));
    if (all > kMostEffectBytes) return;
    effects_.resize(size_t(all));
    uint8_t* of = effects_.data();
    for (size_t i = 0; i < sequences_.size(); ++i) {
      if (bytes[i] > 0) sequences_[i].effects = {of, ceilDiv(sequences_[i].sequence.keys.size(), kEffectKeys)};
      of += bytes[i];
    }
  }

  void tile(const SequenceItems& s, int32_t group, int64_t index, Worker& worker) {
    TileTask task = s.tiling.task(problem_, s.sequence, group, index, pauseOf(worker));
    task.effects = s.effects;
    const TileKernels& kernels = *s.tiling.kernels;
    if (task.rows > 0) kernels.runTile(task, worker.floats(kernels.tileScratch(problem_, s.tiling.shape)));
  }

  static int32_t rowsOf(const SequenceItems& s) { return int32_t(s.tiling.map.rows(s.sequence.queries.size())); }

  // A bundle's partial results in memory: max and sum of every row, then the rows' outputs on a cache line of their
  // own.
  int64_t partialRows(const SequenceItems& s) const {
    return (int64_t(s.groupsPerBundle) * kernels_.decodeRows(rowsOf(s)) + 15) & ~15;
  }
  int64_t partialSize(const SequenceItems& s) const {
    return partialRows(s) * (2 + kernels_.rowFloats(problem_.valueDim));
  }
  PartialRows partialAt(float* at, const SequenceItems& s) const {
    return {at, at + partialRows(s), at + 2 * partialRows(s)};
  }

  void decode(const SequenceItems& s, int32_t bundle, int64_t index, Worker& worker) {
    const int32_t firstGroup = bundle * s.groupsPerBundle,
                  groups = smaller(s.groupsPerBundle, s.tiling.maps - firstGroup);
    const int64_t size = partialSize(s);
    float* memory = worker.floats(2 * size + kernels_.decodeScratch(problem_, groups, rowsOf(s)));
    const auto runChunk = [&](int64_t chunk, const PartialRows& out) {
      const Range keys = intersect({Token(chunk) * s.chunk, Token(smaller<int64_t>(kMaxTokens, (chunk + 1) * s.chunk))},
                                   {s.sequence.keyStart, s.sequence.keys.size()});
      const DecodeTask task{&problem_, s.sequence,     s.tiling.map.next(firstGroup), groups, rowsOf(s),
                            keys,      pauseOf(worker)};
      kernels_.decode(task, out, memory + 2 * size);
    };
    const PartialRows whole = partialAt(memory, s);
    if (s.perBundle == 1) {
      runChunk(0, whole);
      const PartialRows next = partialAt(memory + size, s);
      for (int32_t chunk = 1; chunk < s.chunks && worker.pause(); ++chunk) {
        runChunk(chunk, next);
        mergeRows(whole, next, s);
      }
    } else {
      float* const first = partials_.data() + (s.firstPartial + int64_t(bundle) * s.chunks) * partialFloats_;
      runChunk(index, partialAt(first + index * partialFloats_, s));
      // The last split of a bundle to finish merges them all, in order.
      if (finished_[size_t(s.firstCounter + bundle)].fetch_add(1, std::memory_order_acq_rel) + 1 < s.chunks) return;
      std::memcpy(memory, first, size_t(size) * sizeof(float));
      for (int32_t chunk = 1; chunk < s.chunks; ++chunk) {
        mergeRows(whole, partialAt(first + chunk * partialFloats_, s), s);
      }
    }
    finish(s, firstGroup, groups, whole);
  }

  void mergeRows(const PartialRows& into, const PartialRows& from, const SequenceItems& s) const {
    const int ld = kernels_.rowFloats(problem_.valueDim);
    const int64_t rows = int64_t(s.groupsPerBundle) * kernels_.decodeRows(rowsOf(s));
    for (int64_t r = 0; r < rows; ++r) {
      SoftmaxState state{into.max[r], into.sum[r]};
      const MergeFactors f = merge(state, {from.max[r], from.sum[r]});
      into.max[r] = state.max;
      into.sum[r] = state.sum;
      float* a = into.output + r * ld;
      const float* b = from.output + r * ld;
      for (int32_t d = 0; d < problem_.valueDim; ++d) a[d] = a[d] * f.into + b[d] * f.from;
    }
  }

  void finish(const SequenceItems& s, int32_t firstGroup, int32_t groups, const PartialRows& partial) const {
    const AttentionProblem& p = problem_;
    const int ld = kernels_.rowFloats(p.valueDim), perGroup = kernels_.decodeRows(rowsOf(s));
    for (int32_t g = 0; g < groups; ++g) {
      for (int32_t r = 0; r < rowsOf(s); ++r) {
        const auto [queryToken, head] = s.tiling.map.next(firstGroup + g).at(r);
        const int64_t token = s.sequence.queries.begin + queryToken, row = int64_t(g) * perGroup + r;
        const OutputRow of{s.sequence.batch, token, head};
        SoftmaxState state{partial.max[row], partial.sum[row]};
        const float factor = finishRow(p, state, of);
        const bool isClosed = p.gate.closes(of);
        float* output = partial.output + row * ld;
        for (int32_t d = 0; d < p.valueDim; ++d) output[d] = isClosed ? 0.0f : output[d] * factor;
        char* to = static_cast<char*>(p.out.data) + p.out.offset(s.sequence.batch, token, head) * sizeOf(p.dtype);
        kernels_.writeRow(output, p.valueDim, p.dtype, p.out.dim, to);
        if (p.lse) *p.lseAt(s.sequence.batch, token, head) = state.lse();
      }
    }
  }

  AttentionProblem problem_;
  RangeRuns runs_;  // that the problem's tables point to
  const Kernels& kernels_;
  std::vector<SequenceItems> sequences_;
  int64_t items_ = 0;
  int64_t partialCount_ = 0, partialFloats_ = 0, splitBundles_ = 0;
  std::vector<float> partials_;
  std::vector<uint8_t> effects_;
  KeyLengths lengths_;
  std::vector<std::atomic<int32_t>> finished_;
};

}  // namespace

void addReasons(Reasons& reasons, const AttentionProblem& problem) { addReasons(reasons, problem, kMaxDim, kMaxDim); }

double flopsOf(const AttentionProblem& p) {
  return 2.0 * p.batch * p.outputHeads() * p.queries * double(p.keys) * (p.headDim + p.valueDim);
}

int64_t keyBytesOf(const AttentionProblem& p) {
  return int64_t(p.sequences) * p.kvHeads * p.keys * (p.headDim + p.valueDim) * sizeOf(p.keyType);
}

int32_t jobsOf(const AttentionProblem&) { return 1; }

std::shared_ptr<Job> jobOf(const AttentionProblem& problem, int32_t, const Kernels& kernels, int threads) {
  const auto attention = std::make_shared<AttentionJob>(problem, kernels, threads);
  const auto job = std::make_shared<Job>();
  job->items = attention->items();
  job->work = [attention](int64_t item, Worker& worker) { attention->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
