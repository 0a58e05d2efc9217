// See staging.h.

#include "staging.h"

#include <algorithm>

namespace tilewise::gpu {
namespace {

constexpr int64_t kRowAlignment = 16;  // kernels load rows 16 bytes at a time
// Packed at a time: small enough to stay in the processor's cache until the queue has copied it. Not measured.
constexpr int64_t kPackBytes = 256 << 10;
// Brought back at a time where results have gaps: every piece is waited for. Not measured.
constexpr int64_t kUnpackBytes = 4 << 20;

// Whether the runs are copied from where they lie.
bool isDirect(const Packing& packing) {
  return packing.isCopy() && (packing.runs() == 1 || packing.runBytes() >= kPackBytes);
}

// Calls visit(first, count) for pieces of runs of at most so many bytes, but at least one run.
template <class Visit>
void inPieces(const Packing& packing, int64_t bytes, Visit&& visit) {
  const int64_t runs = packing.runs(), most = std::max<int64_t>(1, bytes / packing.runBytes());
  for (int64_t first = 0; first < runs; first += most) visit(first, std::min(most, runs - first));
}

char* at(void* data, int64_t bytes) { return static_cast<char*>(data) + bytes; }
const char* at(const void* data, int64_t bytes) { return static_cast<const char*>(data) + bytes; }

}  // namespace

Packing Staging::packingOf(const Axes& axes, const Form& form) {
  PackAxis sizes[Packing::kMaxAxes];
  int count = 0;
  for (const OperandAxis& axis : axes) sizes[count++] = {axis.size, *axis.stride};
  const Packing packing(sizes, count, form.elementBytes, form.rowAlignment, form.isRowDense);
  count = 0;
  for (const OperandAxis& axis : axes) *axis.stride = packing.stride(count++);
  return packing;
}

void* Staging::input(const void* data, bool isOnDevice, const Axes& axes, const Form& form) {
  if (!data || isOnDevice) return const_cast<void*>(data);
  const Packing packing = packingOf(axes, form);
  void* device = queue_.allocate(packing.bytes());
  upload(packing, data, device);
  return device;
}

void* Staging::output(void* data, bool isOnDevice, const Axes& axes, const Form& form) {
  if (!data || isOnDevice) return data;
  const Packing packing = packingOf(axes, form);
  void* device = queue_.allocate(packing.bytes());
  if (packing.bytes() > 0) results_.push_back({packing, data, device});
  return device;
}

void Staging::upload(const Packing& packing, const void* host, void* device) {
  const int64_t each = packing.runBytes();
  if (packing.bytes() == 0) return;
  if (isDirect(packing)) {
    for (int64_t run = 0; run < packing.runs(); ++run) {
      queue_.upload(at(device, run * each), at(host, packing.hostOffset(run)), each);
    }
    return;
  }
  inPieces(packing, kPackBytes, [&](int64_t first, int64_t count) {
    buffer_.resize(size_t(std::max(count * each, int64_t(buffer_.size()))));
    packing.pack(host, first, count, buffer_.data());
    queue_.upload(at(device, first * each), buffer_.data(), count * each);
  });
}

void Staging::deliver() {
  for (const Result& result : results_) {
    if (!isDirect(result.packing)) continue;
    const int64_t each = result.packing.runBytes();
    for (int64_t run = 0; run < result.packing.runs(); ++run) {
      queue_.download(at(result.host, result.packing.hostOffset(run)), at(result.device, run * each), each);
    }
  }
  queue_.wait();
  for (const Result& result : results_) {
    if (isDirect(result.packing)) continue;
    const int64_t each = result.packing.runBytes();
    inPieces(result.packing, kUnpackBytes, [&](int64_t first, int64_t count) {
      buffer_.resize(size_t(std::max(count * each, int64_t(buffer_.size()))));
      queue_.download(buffer_.data(), at(result.device, first * each), count * each);
      queue_.wait();
      result.packing.unpack(result.host, first, count, buffer_.data());
    });
  }
}

template <class T>
void Staging::stageInput(Placed<T>& array, const Axes& axes, const Form& form) {
  array = {static_cast<T*>(input(array.data, array.isOnDevice, axes, form)), true};
}

template <class T>
void Staging::stageOutput(Placed<T>& array, const Axes& axes, const Form& form) {
  array = {static_cast<T*>(output(array.data, array.isOnDevice, axes, form)), true};
}

template <class T>
void Staging::stageList(Placed<T>& list, int64_t count) {
  int64_t stride = 1;
  stageInput(list, {{count, &stride}}, {sizeof(T), sizeof(T), true});
}

void Staging::stageOutputList(Placed<int32_t>& list, int64_t count) {
  int64_t stride = 1;
  stageOutput(list, {{count, &stride}}, {sizeof(int32_t), sizeof(int32_t), true});
}

template <class T>
void Staging::stageList(const T*& list, int64_t count) {
  Placed<const T> placed = list;
  stageList(placed, count);
  list = placed;
}

void Staging::stageOperand(Operand& o, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type) {
  o.data = input(o.data, o.isOnDevice, {{batch, &o.batch}, {tokens, &o.token}, {heads, &o.head}, {dim, &o.dim}},
                 {sizeOf(type), kRowAlignment, true});
  o.isOnDevice = true;
}

void Staging::stageOut(Operand& o, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type) {
  o.data = output(o.data, o.isOnDevice, {{batch, &o.batch}, {tokens, &o.token}, {heads, &o.head}, {dim, &o.dim}},
                  {sizeOf(type), kRowAlignment, true});
  o.isOnDevice = true;
}

void Staging::stageBlocks(AttentionProblem& p) {
  BlockLists& b = p.blocks;
  if (!b.begins) return;
  const int64_t lists = b.count(p.batch, p.outputHeads(), p.queries);
  int64_t entries = 0, masks = 0;
  for (int64_t i = 0; i < lists && !b.counts.isOnDevice; ++i) {
    entries = std::max(entries, int64_t(b.begins[i]) + b.counts[i]);
  }
  for (int64_t i = 0; i < entries && b.masks; ++i) masks = std::max(masks, int64_t(b.maskIndex[i]) + 1);
  stageList(b.begins, lists);
  stageList(b.counts, lists);
  stageList(b.starts, entries);
  stageList(b.maskIndex, entries);
  stageList(b.masks, masks * b.queries * b.keys);
}

StagedAttention Staging::stage(const AttentionProblem& problem) {
  StagedAttention staged{problem, problem};
  AttentionProblem& p = staged.problem;
  // Rows of no sequence are neither read nor written, and keys behind the longest are not read.
  int64_t queries = p.queries, keys = p.keys;
  if (p.cuQueries) {
    queries = p.cuQueries[p.sequences];
    keys = p.cuKeys[p.sequences];
  } else if (p.keyLengths) {
    keys = 0;
    for (int32_t b = 0; b < p.batch; ++b) keys = std::max<int64_t>(keys, p.keyLengths[b]);
  }
  const KeyStore::Shape stored = p.store.shape(p.batch, keys);
  const int64_t heads = p.outputHeads();

  stageOperand(p.query, p.batch, queries, p.queryHeads, p.headDim, p.dtype);
  stageOperand(p.key, stored.batch, stored.tokens, p.kvHeads, p.headDim, p.dtype);
  stageOperand(p.value, stored.batch, stored.tokens, p.kvHeads, p.valueDim, p.dtype);
  p.store.forEachList(p.batch, Token(keys), [&](auto& list, int64_t length) { stageList(list, length); });
  stageOperand(p.extraKey, p.batch, p.extraKeys, p.kvHeads, p.headDim, p.dtype);
  stageOperand(p.extraValue, p.batch, p.extraKeys, p.kvHeads, p.valueDim, p.dtype);
  p.rules.forEach([&](auto& rule) {
    rule.operand({p.batch, heads, queries, keys}, [&](auto& array, int64_t elementBytes, const auto& axes) {
      stageInput(array, {std::begin(axes), std::end(axes)}, {elementBytes, kRowAlignment, false});
    });
  });
  stageInput(p.sinks, {{heads, &p.sinksHead}}, {sizeof(float), sizeof(float), false});
  stageBlocks(p);
  stageList(p.cuQueries, p.sequences + 1);
  stageList(p.cuKeys, p.sequences + 1);
  stageList(p.keyLengths, p.batch);

  stageOut(p.out, p.batch, queries, heads, p.valueDim, p.dtype);
  stageOutput(p.lse, {{p.batch, &p.lseBatch}, {heads, &p.lseHead}, {queries, &p.lseToken}},
              {sizeof(float), sizeof(float), true});
  return staged;
}

MergeProblem Staging::stage(const MergeProblem& problem) {
  MergeProblem p = problem;
  const Form floats{sizeof(float), sizeof(float), true};
  for (MergePart& part : p.parts) {
    stageOperand(part.out, p.batch, p.queries, p.heads, p.valueDim, p.dtype);
    stageInput(part.lse, {{p.batch, &part.lseBatch}, {p.heads, &part.lseHead}, {p.queries, &part.lseToken}}, floats);
  }
  stageOut(p.out, p.batch, p.queries, p.heads, p.valueDim, p.dtype);
  stageOutput(p.lse, {{p.batch, &p.lseBatch}, {p.heads, &p.lseHead}, {p.queries, &p.lseToken}}, floats);
  return p;
}

SelectionProblem Staging::stage(const SelectionProblem& problem) {
  SelectionProblem p = problem;
  stageOperand(p.query, p.batch, p.queries, p.queryHeads, p.headDim, p.dtype);
  stageOperand(p.key, p.batch, p.keys, p.kvHeads, p.headDim, p.dtype);
  stageList(p.keyLengths, p.batch);
  for (int32_t s = 0; s < p.stages; ++s) {
    SelectionStage& stage = p.stage[s];
    const int64_t lists = int64_t(p.batch) * p.lists() * p.blocks(s);
    if (s >= p.firstStage) {
      stageOutputList(stage.starts, lists * stage.keep);
      stageOutputList(stage.counts, lists);
    } else if (s == p.firstStage - 1) {
      stageList(stage.starts, lists * stage.keep);
      stageList(stage.counts, lists);
    }
  }
  return p;
}

}  // namespace tilewise::gpu
