// One attention call as work items: query tiles where there are many rows, splits of the keys where there are few.
// Reader: someone who wants to know what runs where. No choice here depends on the number of threads in a way that changes
// a bit of the result: tiles are independent, splits are by position and are merged in order.
#include <atomic>
#include <cstring>
#include <vector>

#include "../core/softmax.h"
#include "jobs.h"
#include "tiles.h"

namespace tilewise::cpu {

int32_t headsPerToken(const Problem& p, Token queries, int panel) {
  const int32_t group = p.kvHeads < p.queryHeads ? p.queryHeads / p.kvHeads : 1;
  return queries < panel ? group : 1;
}

namespace {

// Consecutive items that belong to one sequence.
struct SequenceItems {
  Sequence sequence;
  int64_t firstItem;
  int32_t headsPerToken;
  int32_t groups;  // outputHeads / headsPerToken
  bool isDecode;
  int64_t perGroup;     // tiles, or items over the key splits
  TileShape shape;      // tiles
  Token chunk;          // decode: keys per split
  int32_t chunks;
  // Decode whose splits are separate items: index of the first partial result and of the first group counter.
  int64_t firstPartial, firstCounter;
};

class AttentionJob {
 public:
  AttentionJob(const Problem& problem, const Kernels& kernels, int threads) : problem_(problem), kernels_(kernels) {
    const Problem& p = problem_;
    for (int32_t s = 0; s < p.sequences; ++s) {
      const Sequence sequence = p.sequence(s);
      if (!sequence.queries.isEmpty()) add(sequence, threads);
    }
    partials_.resize(size_t(partialCount_) * partialFloats_);
    finished_ = std::vector<std::atomic<int32_t>>(size_t(splitGroups_));
  }

  int64_t items() const { return items_; }

  void work(int64_t item, Scratch& scratch) {
    size_t low = 0, high = sequences_.size();
    while (high - low > 1) {
      const size_t middle = (low + high) / 2;
      (sequences_[middle].firstItem <= item ? low : high) = middle;
    }
    const SequenceItems& s = sequences_[low];
    const int64_t local = item - s.firstItem;
    const int32_t group = int32_t(local / s.perGroup);
    if (s.isDecode) {
      decode(s, group, local % s.perGroup, scratch);
    } else {
      tile(s, group, s.perGroup - 1 - local % s.perGroup, scratch);  // causal: the longest tiles first
    }
  }

 private:
  void add(const Sequence& sequence, int threads) {
    const Problem& p = problem_;
    const Token queries = sequence.queries.size(), keys = sequence.keys.size();
    SequenceItems s{};
    s.sequence = sequence;
    s.firstItem = items_;
    s.headsPerToken = cpu::headsPerToken(p, queries, kernels_.panel);
    s.groups = p.outputHeads() / s.headsPerToken;
    const int64_t rows = int64_t(queries) * s.headsPerToken;
    s.isDecode = queries == 1 || rows <= kDecodeRowLimit;
    if (s.isDecode) {
      s.chunk = larger<Token>(kDecodeChunk, ceilDiv<Token>(ceilDiv(keys, kDecodeMaxChunks), 64) * 64);
      s.chunks = larger<Token>(1, ceilDiv(keys, s.chunk));
      // Enough groups to keep the threads busy: one item walks a group's splits itself, and no buffer is needed.
      const bool isSplit = s.chunks > 1 && int64_t(s.groups) * p.sequences < 4 * int64_t(threads);
      s.perGroup = isSplit ? s.chunks : 1;
      if (isSplit) {
        s.firstPartial = partialCount_;
        s.firstCounter = splitGroups_;
        splitGroups_ += s.groups;
        partialCount_ += int64_t(s.groups) * s.chunks;
        partialFloats_ = larger(partialFloats_, partialSize(int32_t(rows)));
      }
    } else {
      s.shape = {tileQueries(Token(rows), kernels_.panel), blockKeys(p.headDim, p.valueDim)};
      s.perGroup = ceilDiv<int64_t>(rows, s.shape.queries);
    }
    items_ += s.perGroup * s.groups;
    sequences_.push_back(s);
  }

  int64_t partialSize(int32_t rows) const { return int64_t(rows) * (problem_.valueDim + 2); }
  PartialRows partialAt(float* at, int32_t rows) const {
    return {at, at + rows, at + 2 * int64_t(rows), problem_.valueDim};
  }

  void tile(const SequenceItems& s, int32_t group, int64_t index, Scratch& scratch) {
    const int64_t rows = int64_t(s.sequence.queries.size()) * s.headsPerToken, first = index * s.shape.queries;
    const TileTask task{&problem_, s.sequence, group * s.headsPerToken, s.headsPerToken, first,
                        int32_t(smaller<int64_t>(s.shape.queries, rows - first)), s.shape};
    kernels_.runTile(task, scratch.floats(kernels_.tileScratch(problem_, s.shape)));
  }

  void decode(const SequenceItems& s, int32_t group, int64_t index, Scratch& scratch) {
    const int32_t rows = s.sequence.queries.size() * s.headsPerToken;
    const int64_t kernelFloats = kernels_.decodeScratch(problem_, rows), size = partialSize(rows);
    float* memory = scratch.floats(kernelFloats + 2 * size);
    const auto runChunk = [&](int32_t chunk, const PartialRows& out) {
      const Range keys = intersect({chunk * s.chunk, (chunk + 1) * s.chunk}, {0, s.sequence.keys.size()});
      kernels_.decode({&problem_, s.sequence, group * s.headsPerToken, s.headsPerToken, rows, keys}, out, memory);
    };
    const PartialRows whole = partialAt(memory + kernelFloats, rows);
    if (s.perGroup == 1) {
      runChunk(0, whole);
      const PartialRows next = partialAt(memory + kernelFloats + size, rows);
      for (int32_t chunk = 1; chunk < s.chunks; ++chunk) {
        runChunk(chunk, next);
        mergeRows(whole, next, rows);
      }
    } else {
      float* const first = partials_.data() + (s.firstPartial + int64_t(group) * s.chunks) * partialFloats_;
      runChunk(int32_t(index), partialAt(first + index * partialFloats_, rows));
      // The last split of a group to finish merges them all, in order.
      if (finished_[size_t(s.firstCounter + group)].fetch_add(1, std::memory_order_acq_rel) + 1 < s.chunks) return;
      std::memcpy(whole.max, first, size_t(size) * sizeof(float));
      for (int32_t chunk = 1; chunk < s.chunks; ++chunk) {
        mergeRows(whole, partialAt(first + chunk * partialFloats_, rows), rows);
      }
    }
    finish(s, group, whole, rows);
  }

  void mergeRows(const PartialRows& into, const PartialRows& from, int32_t rows) const {
    for (int32_t r = 0; r < rows; ++r) {
      SoftmaxState state{into.max[r], into.sum[r]};
      const MergeFactors f = merge(state, {from.max[r], from.sum[r]});
      into.max[r] = state.max;
      into.sum[r] = state.sum;
      float* a = into.output + r * into.outputStride;
      const float* b = from.output + r * from.outputStride;
      for (int32_t d = 0; d < problem_.valueDim; ++d) a[d] = a[d] * f.into + b[d] * f.from;
    }
  }

  void finish(const SequenceItems& s, int32_t group, const PartialRows& partial, int32_t rows) const {
    const Problem& p = problem_;
    for (int32_t r = 0; r < rows; ++r) {
      const int32_t head = group * s.headsPerToken + r % s.headsPerToken;
      const int64_t token = s.sequence.queries.begin + r / s.headsPerToken;
      const FinishedRow row = finishRow({partial.max[r], partial.sum[r]}, p.sink(head));
      float* output = partial.output + r * partial.outputStride;
      for (int32_t d = 0; d < p.valueDim; ++d) output[d] *= row.factor;
      char* to = static_cast<char*>(p.out.data) + p.out.offset(s.sequence.batch, token, head) * sizeOf(p.dtype);
      kernels_.writeRow(output, p.valueDim, p.dtype, p.out.dim, to);
      if (p.lse) *p.lseAt(s.sequence.batch, token, head) = row.lse;
    }
  }

  const Problem problem_;
  const Kernels& kernels_;
  std::vector<SequenceItems> sequences_;
  int64_t items_ = 0;
  int64_t partialCount_ = 0, partialFloats_ = 0, splitGroups_ = 0;
  std::vector<float> partials_;
  std::vector<std::atomic<int32_t>> finished_;
};

}  // namespace

std::shared_ptr<Job> attentionJob(const Problem& problem, const Kernels& kernels, int threads) {
  const auto attention = std::make_shared<AttentionJob>(problem, kernels, threads);
  const auto job = std::make_shared<Job>();
  job->items = attention->items();
  job->work = [attention](int64_t item, Scratch& scratch) { attention->work(item, scratch); };
  return job;
}

}  // namespace tilewise::cpu
