#include "host_operations.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "../../../cpu/backend.h"
#include "../../../cuda/operations.h"
#include "../check.h"

using namespace tilewise;

namespace tilewise {

HostMachine machine;
std::string nameOfCase;
bool areRowsLaidOut = true;

}  // namespace tilewise

namespace {

void mustBeOnDevice(const void* data, const char* what) {
  CHECK(!data || machine.owns(data), "%s: %s lies on the host", nameOfCase.c_str(), what);
}

void mustBeRows(const Operand& o, DType type, const char* what) {
  mustBeOnDevice(o.data, what);
  if (!areRowsLaidOut || !o.data) return;
  const int64_t bytes = sizeOf(type);
  CHECK(o.dim == 1, "%s: %s has a dim stride of %d", nameOfCase.c_str(), what, int(o.dim));
  for (const int64_t stride : {o.batch, o.token, o.head}) {
    CHECK(stride >= 0 && stride * bytes % 16 == 0, "%s: rows of %s are %d elements apart", nameOfCase.c_str(), what,
          int(stride));
  }
}

// The bytes between the end of a row and the next multiple of 16.
void mustBePadded(const Operand& o, DType type, int64_t tokens, int64_t dim, const char* what) {
  const int64_t bytes = dim * sizeOf(type);
  if (!areRowsLaidOut || !o.data || tokens == 0 || bytes % 16 == 0) return;
  const char* row = static_cast<const char*>(o.data) + (tokens - 1) * o.token * sizeOf(type);
  const bool isZero = std::all_of(row + bytes, row + (bytes + 15) / 16 * 16, [](char c) { return c == 0; });
  CHECK(isZero, "%s: %s has other things than 0 behind a row", nameOfCase.c_str(), what);
}

}  // namespace

namespace tilewise::cuda {

TileChoice tilesFor(const AttentionProblem& p) { return cpu::backend().tiles(p); }
LinearPasses passesOf(const LinearProblem& p, const Limits&) { return cpu::backend().passes(p); }
LinearPasses passesOf(const DeltaProblem& p, const Limits&) { return cpu::backend().passes(p); }
LinearPasses passesOf(const CumulativeProblem& p, const Limits&) { return cpu::backend().passes(p); }
void run(const StagedAttention& staged, const Limits&, Queue&, const CancelFlag& cancel) {
  const AttentionProblem &p = staged.problem, &lengths = staged.lengths;
  mustBeRows(p.query, p.dtype, "query");
  mustBeRows(p.key, p.dtype, "key");
  mustBeRows(p.value, p.dtype, "value");
  mustBeRows(p.extraKeys, p.dtype, "extraKeys");
  mustBeRows(p.extraValues, p.dtype, "extraValues");
  mustBeRows(p.out, p.dtype, "out");
  if (!lengths.cuSeqlensQ && !lengths.keyLengths && p.store.isDense()) {
    mustBePadded(p.query, p.dtype, p.queries, p.headDim, "query");
    mustBePadded(p.key, p.dtype, p.keys, p.headDim, "key");
  }
  const BlockLists& b = p.blocks;
  for (const void* data :
       std::initializer_list<const void*>{p.lse, p.sinks, p.cuSeqlensQ, p.cuSeqlensK, p.keyLengths, p.keyStarts,
                                          p.store.paged.table, b.begins, b.counts, b.starts, b.addends, b.maskIndex,
                                          b.masks, p.positions.ofQueries, p.positions.ofKeys, p.gate.data}) {
    mustBeOnDevice(data, "an operand");
  }
  if (p.store.codes) {
    const CodedKeys& codes = *p.store.codes;
    mustBeOnDevice(&codes, "what has codes");
    for (const CodeTier& tier : codes.tiers) mustBeOnDevice(tier.data, "a tier");
    for (const int32_t* list : {codes.table, codes.keyEnds, codes.valueEnds}) mustBeOnDevice(list, "a list of codes");
  }
  p.rules.forEach([](const auto& rule) { mustBeOnDevice(rule.data, "a score rule"); });
  const auto isHost = [](const void* data) { return !data || !machine.owns(data); };
  CHECK(isHost(lengths.cuSeqlensQ) && isHost(lengths.cuSeqlensK) && isHost(lengths.keyLengths) &&
            isHost(lengths.keyStarts),
        "%s: lengths are not known", nameOfCase.c_str());
  cpu::backend().run(p, cancel);
}

void run(const MergeProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  mustBeRows(p.out, p.dtype, "out");
  mustBeOnDevice(p.lse, "lse");
  for (const MergePart& part : p.parts) {
    mustBeRows(part.out, p.dtype, "a part's out");
    mustBeOnDevice(part.lse, "a part's lse");
  }
  cpu::backend().run(p, cancel);
}

void run(const AppendProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  mustBeOnDevice(p.slots.list, "slots");
  for (const AppendedRows* rows : {&p.keys, &p.values}) {
    mustBeOnDevice(rows->from.data, "appended rows");
    mustBeOnDevice(rows->to.data, "pages");
  }
  cpu::backend().run(p, cancel);
}

void run(const StagedRotary& staged, const Limits&, Queue&, const CancelFlag& cancel) {
  const RotaryProblem& p = staged.problem;
  mustBeRows(p.in, p.dtype, "rows");
  mustBeRows(p.out, p.dtype, "rotated rows");
  mustBeOnDevice(staged.rotations.data, "rotations");
  // The kernel reads these, the CPU makes them anew.
  std::vector<float> rotations(2 * size_t(p.pairs));
  for (int32_t b = 0; b < p.batch; ++b)
    for (Token t = 0; t < p.tokens; ++t)
      for (int32_t h = 0; h < p.heads; ++h) {
        writeRotations(p, b, t, h, rotations.data());
        const Rotations& of = staged.rotations;
        const float* const at = of.data + b * of.batch + t * of.token + h * of.head;
        CHECK(std::equal(rotations.begin(), rotations.end(), at), "%s: other rotations", nameOfCase.c_str());
      }
  cpu::backend().run(p, cancel);
}

void run(const CumulativeProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  mustBeRows(p.value, p.dtype, "value");
  mustBeRows(p.out, p.dtype, "out");
  for (const void* data :
       std::initializer_list<const void*>{p.scores.data, p.lse.data, p.before.max.data, p.before.weighted.data,
                                          p.after.max.data, p.after.sum.data, p.after.weighted.data}) {
    mustBeOnDevice(data, "an operand");
  }
  cpu::backend().run(p, cancel);
}

void run(const DeltaProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  for (const Operand* o : {&p.query, &p.key, &p.value, &p.out}) mustBeRows(*o, p.dtype, "rows");
  for (const void* data : std::initializer_list<const void*>{p.beta.data.data, p.decay.data.data, p.stateIn.data,
                                                             p.state.data, p.cuSeqlens}) {
    mustBeOnDevice(data, "an operand");
  }
  cpu::backend().run(p, cancel);
}

void run(const EncodeProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  for (const void* data : std::initializer_list<const void*>{p.keys.data, p.values.data, p.slots.list, p.keyRuns,
                                                             p.valueRuns, p.narrowed, p.to.data, p.wide.data}) {
    mustBeOnDevice(data, "an operand");
  }
  cpu::backend().run(p, cancel);
}

void run(const LocalLinearProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  for (const Operand* o : {&p.query, &p.key, &p.value, &p.correction, &p.out}) mustBeRows(*o, p.dtype, "rows");
  cpu::backend().run(p, cancel);
}

void run(const StagedLinear& staged, const Limits&, Queue&, const CancelFlag& cancel) {
  const LinearProblem& p = staged.problem;
  mustBeRows(p.query, p.dtype, "query");
  mustBeRows(p.key, p.dtype, "key");
  mustBeRows(p.value, p.dtype, "value");
  mustBeRows(p.out, p.dtype, "out");
  for (const void* data : std::initializer_list<const void*>{p.decay.data, p.stateIn.data, p.normalizerIn.data,
                                                             p.state.data, p.normalizer.data, staged.cuSeqlens}) {
    mustBeOnDevice(data, "an operand");
  }
  CHECK(!p.cuSeqlens || !machine.owns(p.cuSeqlens), "%s: lengths are not known", nameOfCase.c_str());
  cpu::backend().run(p, cancel);
}

void run(const SelectionProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  mustBeRows(p.query, p.dtype, "query");
  mustBeRows(p.key, p.dtype, "key");
  mustBeOnDevice(p.keyLengths, "keyLengths");
  for (int32_t s = std::max(0, p.firstStage - 1); s < p.stages; ++s) {
    mustBeOnDevice(p.stage[s].starts, "starts");
    mustBeOnDevice(p.stage[s].counts, "counts");
  }
  cpu::backend().run(p, cancel);
}

void run(const StatsProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  for (const Operand* o : {&p.query, &p.key}) mustBeRows(*o, p.dtype, "rows");
  for (const void* data : std::initializer_list<const void*>{
           p.store.paged.table, p.keyLengths, p.givenLse.data, p.lse.data, p.topIndices.data, p.topProbs.data,
           p.keySum.data, p.keySumOverQueries.data, p.keyMaxOverHeads.data, p.blockSum.data, p.diagSum.data,
           p.probs.data, p.scores.data}) {
    mustBeOnDevice(data, "an operand");
  }
  cpu::backend().run(p, cancel);
}

void run(const SummaryProblem& p, const Limits&, Queue&, const CancelFlag& cancel) {
  mustBeRows(p.key, p.type, "key");
  for (const void* data : std::initializer_list<const void*>{p.runs, p.bounds.data, p.means.data}) {
    mustBeOnDevice(data, "an operand");
  }
  cpu::backend().run(p, cancel);
}

void addReasons(Reasons&, const AttentionProblem&, const Limits&) {}
void addReasons(Reasons&, const AppendProblem&, const Limits&) {}
void addReasons(Reasons&, const CumulativeProblem&, const Limits&) {}
void addReasons(Reasons&, const DeltaProblem&, const Limits&) {}
void addReasons(Reasons&, const EncodeProblem&, const Limits&) {}
void addReasons(Reasons&, const LinearProblem&, const Limits&) {}
void addReasons(Reasons&, const LocalLinearProblem&, const Limits&) {}
void addReasons(Reasons&, const MergeProblem&, const Limits&) {}
void addReasons(Reasons&, const RotaryProblem&, const Limits&) {}
void addReasons(Reasons&, const SelectionProblem&, const Limits&) {}
void addReasons(Reasons&, const StatsProblem&, const Limits&) {}
void addReasons(Reasons&, const SummaryProblem&, const Limits&) {}

}  // namespace tilewise::cuda
