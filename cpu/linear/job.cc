// linearAttention as work items: sequences and blocks of KV heads, and groups of their chunks where heads are too few.
// Reader: see core/op/linear.h for the rule, chunk_loop.inl for a chunk. A group's state begins with 0 and what the
// groups before it leave is added chunk by chunk, so one pass over all groups and two (their states, then their
// outputs) give the same bits, for any number of threads. Memory of a call: where it takes two passes, a state per
// group.
#include "job.h"

#include <cstdlib>
#include <cstring>

#include "groups.h"
#include "kernels.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

// Groups of a shorter sequence of a packed batch as long as those of the longest one.
struct Division {
  explicit Division(const LinearProblem& p)
      : chunk(smaller(p.chunk > 0 ? p.chunk : kLinearChunk, larger<Token>(1, p.longestSequence()))),
        ofTokens(p.longestSequence(), chunk),
        groups(groupsOf(p.cuSeqlens ? p.longestSequence() : p.keys)),
        states(int64_t(p.sequences) * p.kvHeads) {}
  int64_t groupsOf(Token tokens) const { return ofTokens.countOf(tokens); }
  bool isSplit(const LinearProblem& p, int threads) const { return !p.isCausal || (groups > 1 && states < threads); }
  // KV heads that take turns: as many as fit, but so few that threads have equal work; one where a head's tokens follow
  // each other in memory. No bit depends on it.
  int32_t headsAtOnce(const LinearProblem& p, int64_t stateFloats, int threads) const {
    if (states == 0 || std::abs(p.key.token) < std::abs(p.key.head)) return 1;
    const int64_t most = larger<int64_t>(1, kMostStateBytes / (stateFloats * int64_t(sizeof(float))));
    const int64_t units = states * (isSplit(p, threads) ? groups : 1);
    const int64_t items = ceilDiv(ceilDiv(units, smaller(kMostHeadsAtOnce, most)), int64_t(threads)) * threads;
    return int32_t(smaller<int64_t>(p.kvHeads, ceilDiv(units, items)));
  }

  int32_t chunk;
  ChunkGroups ofTokens;
  int64_t groups, states;
};

class LinearJob {
 public:
  LinearJob(const LinearProblem& problem, int32_t phase, const LinearKernels& kernels, int threads)
      : p_(problem),
        phase_(ScanPhase(phase)),
        k_(kernels),
        stateFloats_(kernels.stateFloats(problem)),
        division_(problem),
        chunk_(division_.chunk),
        heads_(division_.headsAtOnce(problem, stateFloats_, threads)),
        groups_(division_.groups) {
    LinearStates& states = *p_.states;
    if (phase_ == kSums) {
      states.areSplit = division_.isSplit(p_, threads);
      if (states.areSplit) states.memory.reset(new float[size_t(division_.states * (groups_ + 1) * stateFloats_)]);
    }
    areSplit_ = states.areSplit;
    const int64_t blocks = p_.sequences * blocksPerSequence();
    const bool isAhead = phase_ != kOutputs;
    if (isAhead) {
      items_ = !areSplit_ ? 0 : phase_ == kSums ? blocks * groups_ : division_.states;
    } else {
      items_ = areSplit_ ? blocks * outputGroups() : blocks;
    }
  }

  int64_t items() const { return items_; }

  void work(int64_t item, Worker& worker) const {
    const Pause pause{[](void* it) { return static_cast<Worker*>(it)->pause(); }, &worker};
    if (phase_ == kSums) return sum(item / groups_, item % groups_, pause, worker);
    if (phase_ == kCarries) return carry(item, worker);
    if (!p_.isCausal) return read(item / outputGroups(), item % outputGroups(), pause, worker);
    if (areSplit_) return runSplit(item / groups_, item % groups_, pause, worker);
    runAll(item, pause, worker);
  }

 private:
  int64_t outputGroups() const { return p_.isCausal ? groups_ : division_.groupsOf(p_.queries); }
  int64_t blocksPerSequence() const { return ceilDiv(p_.kvHeads, heads_); }

  LinearGroup groupAt(int64_t block, int64_t group, const Pause& pause) const {
    const LinearSequence sequence = p_.sequence(block / blocksPerSequence());
    const int32_t head = int32_t(block % blocksPerSequence()) * heads_;
    const Token tokens = p_.isCausal || phase_ != kOutputs ? sequence.keys.size() : sequence.queries.size();
    const Range range = division_.ofTokens.at(group, tokens);
    const int64_t stride = areSplit_ ? (groups_ + 1) * stateFloats_ : stateFloats_;
    return {&p_,    sequence, head, smaller(heads_, p_.kvHeads - head), chunk_, range, areSplit_ ? range.end : tokens,
            stride, pause};
  }
  // Of a sequence and KV head: what groups 0, 1 ... begin with, then what is left at the end.
  float* stateOf(int64_t state, int64_t group) const {
    return p_.states->memory.get() + (state * (groups_ + 1) + group) * stateFloats_;
  }
  float* stateOf(const LinearGroup& at, int64_t group) const {
    return stateOf(at.sequence.index * p_.kvHeads + at.head, group);
  }
  float* scratch(const LinearGroup& at, Worker& worker, int64_t floatsBefore = 0) const {
    return worker.floats(floatsBefore + k_.scratchFloats(p_, chunk_, at.heads));
  }
  bool isWanted() const { return p_.state || p_.normalizer; }
  bool beginsWithState() const { return p_.stateIn || p_.normalizerIn; }

  // One token needs no group: its step reads and writes the problem's states.
  bool isStep(const LinearSequence& sequence) const { return p_.isCausal && sequence.keys.size() == 1; }
  void step(const LinearGroup& at, Worker& worker) const {
    for (int32_t h = 0; h < at.heads; ++h) {
      k_.step(p_, at.sequence, at.head + h, worker.floats(k_.stepFloats(p_)));
    }
  }

  void sum(int64_t block, int64_t group, const Pause& pause, Worker& worker) const {
    const LinearGroup at = groupAt(block, group, pause);
    const bool isLast = at.tokens.end == at.sequence.keys.size();
    if (isStep(at.sequence) || (p_.isCausal && isLast && !isWanted())) return;
    k_.sumGroup(at, stateOf(at, group + 1), scratch(at, worker));
  }

  // What a group leaves becomes what the next one begins with.
  void carry(int64_t state, Worker& worker) const {
    const int64_t sequence = state / p_.kvHeads;
    const int32_t head = int32_t(state % p_.kvHeads);
    const LinearSequence tokens = p_.sequence(sequence);
    if (isStep(tokens)) return;
    const size_t bytes = size_t(stateFloats_) * sizeof(float);
    float* const carried = worker.floats(stateFloats_);
    k_.loadState(p_, sequence, head, carried);
    std::memcpy(stateOf(state, 0), carried, bytes);
    const int64_t groups = division_.groupsOf(tokens.keys.size());
    for (int64_t group = 0; group < groups; ++group) {
      if (p_.isCausal && group + 1 == groups && !isWanted()) return;
      k_.carry(p_, stateOf(state, group + 1), carried);
      std::memcpy(stateOf(state, group + 1), carried, bytes);
    }
    std::memcpy(stateOf(state, groups_), carried, bytes);
    if (isWanted()) k_.storeState(p_, sequence, head, carried);
  }

  void read(int64_t block, int64_t group, const Pause& pause, Worker& worker) const {
    const LinearGroup at = groupAt(block, group, pause);
    k_.readState(at, stateOf(at, groups_), scratch(at, worker));
  }

  void runSplit(int64_t block, int64_t group, const Pause& pause, Worker& worker) const {
    const LinearGroup at = groupAt(block, group, pause);
    if (isStep(at.sequence)) {
      if (group == 0) step(at, worker);
      return;
    }
    const bool isCarried = group > 0 || beginsWithState();
    k_.runGroup(at, isCarried ? stateOf(at, group) : nullptr, nullptr, scratch(at, worker));
  }

  void runAll(int64_t block, const Pause& pause, Worker& worker) const {
    const LinearGroup all = groupAt(block, 0, pause);
    if (isStep(all.sequence)) return step(all, worker);
    const int64_t sequence = all.sequence.index, floats = all.heads * stateFloats_;
    float* const carried = scratch(all, worker, 2 * floats);
    float* const end = carried + floats;
    for (int32_t h = 0; h < all.heads; ++h) k_.loadState(p_, sequence, all.head + h, carried + h * stateFloats_);
    const int64_t groups = division_.groupsOf(all.sequence.keys.size());
    for (int64_t group = 0; group < groups; ++group) {
      const bool isCarried = group > 0 || beginsWithState(), isLast = group + 1 == groups;
      const bool needsEnd = !isLast || isWanted();
      k_.runGroup(groupAt(block, group, pause), isCarried ? carried : nullptr, needsEnd ? end : nullptr, end + floats);
      if (!pause()) return;
      for (int32_t h = 0; h < all.heads && needsEnd; ++h) {
        k_.carry(p_, end + h * stateFloats_, carried + h * stateFloats_);
      }
    }
    for (int32_t h = 0; h < all.heads && isWanted(); ++h) {
      k_.storeState(p_, sequence, all.head + h, carried + h * stateFloats_);
    }
  }

  const LinearProblem p_;
  const ScanPhase phase_;
  const LinearKernels& k_;
  const int64_t stateFloats_;
  const Division division_;
  const int32_t chunk_, heads_;
  const int64_t groups_;
  int64_t items_ = 0;
  bool areSplit_ = false;
};

}  // namespace

const LinearKernels& linearKernels([[maybe_unused]] const Kernels& kernels) {
#if defined(TILEWISE_X86)
  if (std::strcmp(kernels.name, kLinearAvx512.name) == 0) return kLinearAvx512;
  if (std::strcmp(kernels.name, kLinearAvx2.name) == 0) return kLinearAvx2;
#elif defined(TILEWISE_NEON)
  if (std::strcmp(kernels.name, kLinearNeon.name) == 0) return kLinearNeon;
#endif
  return kLinearPortable;
}

void addReasons(Reasons&, const LinearProblem&) {}

double flopsOf(const LinearProblem& p) {
  const double chunk = p.chunk > 0 ? p.chunk : kLinearChunk, features = p.features();
  const double perQuery = (chunk + 1) * (p.headDim + p.valueDim) + 2 * features * p.valueDim;
  return double(p.batch) *
         (double(p.queries) * p.queryHeads * perQuery + 2.0 * p.keys * p.kvHeads * features * p.valueDim);
}

LinearPasses passesOf(const LinearProblem& p, int threads) {
  const Division division(p);
  LinearPasses passes{division.chunk, 1, division.isSplit(p, threads), 0};
  const double queries = double(p.batch) * p.queries * p.queryHeads * (p.headDim + p.valueDim);
  const double keys = double(p.batch) * p.keys * p.kvHeads * (p.headDim + p.valueDim);
  const double state = double(division.states) * p.features() * p.valueDim * double(sizeof(float));
  passes.bytes = (queries + keys) * double(sizeOf(p.dtype));
  if (p.stateIn) passes.bytes += state;
  if (p.state) passes.bytes += state;
  if (!passes.isSplit) return passes;
  passes.groups = division.groups;
  // Keys are read again, unless every query sees all; states are written, carried on and read.
  if (p.isCausal) passes.bytes += keys * double(sizeOf(p.dtype));
  passes.bytes += 4 * state * double(division.groups);
  return passes;
}

int32_t jobsOf(const LinearProblem&) { return kScanPhases; }

std::shared_ptr<Job> jobOf(const LinearProblem& problem, int32_t index, const Kernels& kernels, int threads) {
  const auto linear = std::make_shared<const LinearJob>(problem, index, linearKernels(kernels), threads);
  const auto job = std::make_shared<Job>();
  job->items = linear->items();
  job->work = [linear](int64_t item, Worker& worker) { linear->work(item, worker); };
  return job;
}

}  // namespace tilewise::cpu
