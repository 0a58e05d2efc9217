// Which visits the attention kernels make where score rules hide keys: counted on the emulated GPU, and held against
// numbers worked out by hand. Reader: someone who changes visits.h or rule_effects.h. The host side plans and launches
// as for any call, but kernels that only count take the place of those that compute.
#include <functional>
#include <string>
#include <vector>

#include "../../../core/op/head_windows.h"
#include "../../../core/plan/plan.h"
#include "../../../cuda/attention/run.h"
#include "../../../cuda/attention/scores.h"
#include "../../../cuda/attention/sm80/layout.h"
#include "../../../cuda/prims/kernel.h"
#include "../check.h"
#include "device.h"

using namespace tilewise;
using namespace tilewise::cuda;

namespace {

struct Visits {
  int64_t visits = 0, changed = 0, keys = 0;  // changed: visits in which score rules are read
};

struct WalkParams {
  AttentionParams attention;
  Visits* ofBlocks;
};

template <class Pattern, KeyFeed kFeed>
void walk(const WalkParams& params) {
  using L = Layout<f16, 64, Pattern, kFeed>;
  const AttentionParams& p = params.attention;
  Work work = workOf(p, block_index());
  Pattern pattern;
  patternOf(p, work, pattern);
  const auto queries = queriesOf(p, work, pattern, L::kRows);
  Visits all;
  if (queries.count > 0) {
    typename L::Visits visits(p, work, pattern, lookAmong(pattern, work.map.heads(), queries.box()), 0);
    for (Visit visit{}; visits.next(visit, L::slots()); sync_block()) {
      sync_block();  // all keys of the visit are noted
      ++all.visits;
      all.changed += mayChange(p, work, VisitKeys<true>{visit, L::slots()}, 0, L::kKeys);
      all.keys += visit.count;
    }
  }
  if (thread_index() == 0) params.ofBlocks[block_index()] = all;
}

constexpr int kThreads = 32 * tileSizes(2, 64, KeyFeed::gather).warps;
static_assert(kThreads == 32 * tileSizes(2, 64, KeyFeed::decode).warps, "one number of threads for both");

TW_KERNEL(gather_window, WalkParams, kThreads, 1) { walk<WindowOrRanges, KeyFeed::gather>(p); }
TW_KERNEL(decode_window, WalkParams, kThreads, 1) { walk<WindowOrRanges, KeyFeed::decode>(p); }
TW_KERNEL(gather_neighborhood, WalkParams, kThreads, 1) { walk<Neighborhood<kMaxRank>, KeyFeed::gather>(p); }
TW_KERNEL(gather_shards, WalkParams, kThreads, 1) { walk<StridedShards, KeyFeed::gather>(p); }
TW_KERNEL(gather_blocks, WalkParams, kThreads, 1) { walk<BlockList, KeyFeed::gather>(p); }
TW_KERNEL(effects_tokens, EffectParams, kEffectThreads, 3) { noteEffects<Window>(p); }
TW_KERNEL(effects_grid, EffectParams, kEffectThreads, 3) { noteEffects<Neighborhood<kMaxRank>>(p); }

// Lets the kernels above take the place of those that a call launches.
class CountingQueue final : public Queue {
 public:
  explicit CountingQueue(Device& device) : device_(device), queue_(device.queue()) {}

  void* allocate(int64_t bytes) override { return queue_.allocate(bytes); }
  void upload(void* to, const void* from, int64_t bytes) override { queue_.upload(to, from, bytes); }
  void download(void* to, const void* from, int64_t bytes) override { queue_.download(to, from, bytes); }
  void wait() override { queue_.wait(); }
  void launch(const Launch& launch) override {
    const std::string name = launch.kernel, prefix = "attention_";
    const std::string kernel = name.substr(prefix.size(), name.find("_float16") - prefix.size());
    if (kernel == "combine") return;
    Launch counted = launch;
    counted.module = "visit_checks";
    counted.kernel = kernel.c_str();
    if (kernel.rfind("effects_", 0) == 0) return queue_.launch(counted);
    const WalkParams params{*static_cast<const AttentionParams*>(launch.params),
                            device_.upload(std::vector<Visits>(launch.blocks))};
    counted.params = &params;
    counted.paramBytes = sizeof params;
    queue_.launch(counted);
    for (const Visits& of : device_.download(params.ofBlocks, launch.blocks)) {
      all.visits += of.visits;
      all.changed += of.changed;
      all.keys += of.keys;
    }
  }

  Visits all;

 private:
  Device& device_;
  Queue& queue_;
};

AttentionProblem problemOf(Token queries, Token keys) {
  AttentionProblem p;
  p.batch = p.sequences = 1;
  p.queryHeads = p.kvHeads = 1;
  p.queries = queries;
  p.keys = keys;
  p.headDim = p.valueDim = 64;
  p.dtype = p.keyType = DType::float16;
  return p;
}

void expect(const char* name, const AttentionProblem& p, const Visits& expected) {
  Device device("races", {80, 8, 99 * 1024});
  CountingQueue queue(device);
  Staging staging(queue);
  cuda::run(stage(staging, p), device.limits(), queue, CancelFlag{false});
  const Visits& got = queue.all;
  CHECK(got.visits == expected.visits && got.changed == expected.changed && got.keys == expected.keys,
        "%s: %d visits of %d keys, rules read in %d; expected %d of %d, %d", name, int(got.visits), int(got.keys),
        int(got.changed), int(expected.visits), int(expected.keys), int(expected.changed));
  if (traitsOf(p).isGrid || p.cuSeqlensQ) return;  // explain() takes no masks there
  const int64_t rows = smaller<int64_t>(64, int64_t(p.queries) * p.queryHeads);  // of each tile
  const int64_t computed = Planner(p, tilesFor(p).rule).run().sum.computed;
  CHECK(computed == expected.keys * rows, "%s: explain() counts %d pairs, not %d", name, int(computed),
        int(expected.keys * rows));
}

// A byte for each batch entry, head, query and key.
using Shows = std::function<bool(int b, int h, int q, int k)>;
std::vector<uint8_t> bytesOf(const AttentionProblem& p, const Shows& shows) {
  std::vector<uint8_t> bytes;
  for (int b = 0; b < p.batch; ++b)
    for (int h = 0; h < p.queryHeads; ++h)
      for (int q = 0; q < p.queries; ++q)
        for (int k = 0; k < p.keys; ++k) bytes.push_back(shows(b, h, q, k));
  return bytes;
}
ScoreOperand operandOf(const AttentionProblem& p, const void* data) {
  const int64_t perHead = int64_t(p.queries) * p.keys;
  return {data, p.batch > 1 ? p.queryHeads * perHead : 0, p.queryHeads > 1 ? perHead : 0, p.keys, 1};
}
void expectMasked(const char* name, AttentionProblem p, const Shows& shows, const Visits& expected) {
  const std::vector<uint8_t> bytes = bytesOf(p, shows);
  p.rules.mask = {operandOf(p, bytes.data())};
  expect(name, p, expected);
}

const Shows isCausal = [](int, int, int q, int k) { return k <= q; };

// Tiles of 64 queries meet 64 keys at once: tile i of a causal mask needs the first i + 1 times 64 keys.
void checkMasks() {
  AttentionProblem p = problemOf(256, 256);
  p.window.right = 0;
  p.softcap = 1;  // for the gather kernel
  expect("causal by its window", p, {10, 10, 640});
  p = problemOf(256, 256);
  expectMasked("causal by a mask", p, isCausal, {10, 4, 640});
  const std::vector<uint8_t> causal = bytesOf(p, isCausal);
  std::vector<float> bias;
  for (const uint8_t isSeen : causal) bias.push_back(isSeen ? 0.0f : -INFINITY);
  p.rules.bias = {{operandOf(p, bias.data())}};
  expect("causal by a bias", p, {10, 4, 640});
  expectMasked("causal by both", p, isCausal, {10, 4, 640});
  p = problemOf(256, 256);
  expectMasked("ones", p, [](int, int, int, int) { return true; }, {16, 0, 1024});
  expectMasked("zeros", p, [](int, int, int, int) { return false; }, {0, 0, 0});
  // Keys 32 to 223 are hidden: what is left of both sides is met side by side.
  expectMasked("a gap", p, [](int, int, int, int k) { return k < 32 || k >= 224; }, {4, 0, 256});
  // Of every second query alone: no piece is hidden from all.
  expectMasked("stripes", p, [](int, int, int q, int) { return q % 2 == 0; }, {16, 16, 1024});
  p.queryHeads = p.kvHeads = 2;
  expectMasked("a head that sees nothing", p, [](int, int h, int, int) { return h == 1; }, {16, 0, 1024});
  p.batch = p.sequences = 2;
  // Per tile: 1 visit of entry 0, 4 of entry 1; each for two heads.
  expectMasked("a mask per entry", p, [](int b, int, int, int k) { return b == 1 || k < 64; }, {40, 0, 2560});
  // The same without a mask of its own for each head.
  const std::vector<uint8_t> bytes = bytesOf(p, [](int b, int, int, int k) { return b == 1 || k < 64; });
  p.rules.mask = {{bytes.data(), 2 * 65536, 0, 256, 1}};
  expect("a mask per entry for all heads", p, {40, 0, 2560});
}

// Of 256 keys 100 are in use: pieces of 32 keys up to 128, the last of which is hidden in part.
void checkPadding() {
  AttentionProblem p = problemOf(256, 256);
  const int32_t length = 100;
  p.softcap = 1;
  p.keyLengths = &length;
  expect("a length", p, {8, 8, 400});
  p = problemOf(256, 256);
  std::vector<uint8_t> bytes(256);
  for (int k = 0; k < 256; ++k) bytes[k] = k < 100;
  p.rules.keyMask = {{{bytes.data(), 256, 0, 0, 1}}};
  expect("padding behind", p, {8, 4, 512});
  for (int k = 0; k < 256; ++k) bytes[k] = k >= 156;
  expect("padding in front", p, {8, 4, 512});
  // One token of 8 heads that share keys, splits of 512 keys. Keys 0 to 1499 are hidden, pieces up to 1472: splits 0
  // and 1 have no visit, split 2 has 64 keys left, split 3 all.
  p = problemOf(1, 2048);
  p.queryHeads = 8;
  bytes.resize(2048);
  for (int k = 0; k < 2048; ++k) bytes[k] = k >= 1500;
  p.rules.keyMask = {{{bytes.data(), 2048, 0, 0, 1}}};
  expect("padding in front of splits", p, {9, 1, 576});
}

// Two causal sequences of 64 and 128 tokens: 1 tile, and 2 tiles with 1 and 2 visits.
void checkPacked() {
  AttentionProblem p = problemOf(192, 192);
  const int32_t starts[] = {0, 64, 192};
  p.sequences = 2;
  p.cuSeqlensQ = p.cuSeqlensK = starts;
  expectMasked("packed sequences", p, isCausal, {4, 3, 256});
}

void checkPatterns() {
  const Shows isFirstHalf = [](int, int, int, int k) { return k < 128; };
  AttentionProblem p = problemOf(256, 256);
  const int32_t begins[] = {0, 4, 8, 12}, counts[] = {4, 4, 4, 4};
  std::vector<int32_t> entries;
  for (int i = 0; i < 16; ++i) entries.push_back(i % 4 * 64);
  p.pattern = PatternKind::blocks;
  p.blocks.queries = p.blocks.keys = 64;
  p.blocks.begins = begins;
  p.blocks.counts = counts;
  p.blocks.starts = entries.data();
  expectMasked("a causal mask on lists of all blocks", p, isCausal, {10, 4, 640});
  // Causal by themselves: tiles see 1, 2, 3 and 4 times 64 keys, of which 2 times 64 are not hidden.
  p = problemOf(256, 256);
  p.pattern = PatternKind::stridedShards;
  p.shards.blockSize = 16;
  p.shards.localBlocks = 16;
  expectMasked("half of the keys of shards", p, isFirstHalf, {7, 0, 448});
  // Two causal documents of 128 tokens: tiles see 1, 2, 1 and 2 times 64 keys, of which those of the second are hidden.
  p = problemOf(256, 256);
  std::vector<int32_t> offsets;
  std::vector<Range> ranges;
  for (Token q = 0; q < 256; ++q) {
    offsets.push_back(q);
    ranges.push_back({q / 128 * 128, q + 1});
  }
  offsets.push_back(256);
  p.pattern = PatternKind::ranges;
  p.ranges.offsets = offsets.data();
  p.ranges.ranges = ranges.data();
  expect("documents", p, {6, 6, 384});
  expectMasked("the first of two documents", p, isFirstHalf, {3, 0, 192});
  // All places see all 16 lines of a grid.
  p = problemOf(256, 256);
  p.pattern = PatternKind::neighborhood;
  p.grid.rank = 2;
  for (int a = 0; a < 2; ++a) p.grid.length[a] = p.grid.kernel[a] = 16;
  expectMasked("half of the lines of a grid", p, isFirstHalf, {8, 0, 512});
  // Three tiles see two lines of 96, whose second 32 tokens are hidden.
  p = problemOf(192, 192);
  p.pattern = PatternKind::neighborhood;
  p.grid.rank = 2;
  p.grid.length[0] = p.grid.kernel[0] = 2;
  p.grid.length[1] = p.grid.kernel[1] = 96;
  expectMasked("gaps in the lines of a grid", p, [](int, int, int, int k) { return k / 32 % 3 != 1; }, {6, 0, 384});
  // Two dilation groups of 128 tokens, 2 tiles each. Of a group's tokens 32 are before 64, and 32 behind 191.
  p = problemOf(256, 256);
  p.pattern = PatternKind::neighborhood;
  p.grid.rank = 1;
  p.grid.length[0] = 256;
  p.grid.kernel[0] = 128;
  p.grid.dilation[0] = 2;
  expectMasked("a gap in a dilated grid", p, [](int, int, int, int k) { return k < 64 || k >= 192; }, {4, 0, 256});
}

// One token of four heads that share keys, each with a window of its own: a key is met once, however many see it.
void checkHeadWindows() {
  AttentionProblem p = problemOf(1, 200);
  p.queryHeads = 4;
  std::vector<Token> values;
  setHeadWindows(p, {9, 99, 0, 49}, {0}, {0}, values);
  expect("windows by head", p, {2, 2, 100});
  // Keys 0 to 8 and 170 to 199.
  setHeadWindows(p, {9, 29, 19, 4}, {0}, {4, 0, 9, 0}, values);
  expect("sinks by head", p, {1, 1, 39});
}

}  // namespace

int main() {
  checkMasks();
  checkPadding();
  checkPacked();
  checkPatterns();
  checkHeadWindows();
  return finish("visits");
}
