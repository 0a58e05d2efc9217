// See pattern.h.
#include "pattern.h"

#include <limits>

#include "../../core/op/head_windows.h"
#include "fields.h"

namespace tilewise {
namespace {

// clang-format off
#define TW_PER_AXIS(X, name) X(name##0) X(name##1) X(name##2)
#define TW_NEIGHBORHOOD(X)                                                                               \
  X(rank) TW_PER_AXIS(X, length) TW_PER_AXIS(X, kernelSize) TW_PER_AXIS(X, stride) TW_PER_AXIS(X, dilation) \
  TW_PER_AXIS(X, causal) X(clipped)
#define TW_SHARDS(X)                                                                                   \
  X(shardBlockSize) X(shardLocalBlocks) X(shardLocalBlocksRight) X(shardVertStride) X(shardHeadStep) X(shardHeadOffset)    \
  X(shardHeadBase) X(shardHeadsPerLayout) X(shardFirstDense) X(shardRelative)
#define TW_BLOCKS(X)                                                                                    \
  X(blockQueries) X(blockKeys) X(headsPerList) X(listsByBatch) X(listsByHead) X(listWindow)
#define TW_RANGES(X) X(headsPerRanges) X(rangesByBatch) X(rangesByHead)

#define TW_PATTERN_FIELDS(X) TW_NEIGHBORHOOD(X) TW_SHARDS(X) TW_BLOCKS(X) TW_RANGES(X)
#define TW_PATTERN_VIEWS(X)                                                                             \
  X(blockBegins) X(blockCounts) X(blockStarts) X(blockAddends) X(blockMaskIndex) X(blockMasks)            \
  X(rangeOffsets) X(rangeBounds) X(windowLefts) X(windowRights) X(windowSinks)
// clang-format on

// The patterns' fields and views follow those of fields.h.
enum class PatternField : size_t { before = size_t(Field::count) - 1, TW_PATTERN_FIELDS(TW_ENUMERATOR) count };
enum class PatternSlot : size_t { before = size_t(Slot::count) - 1, TW_PATTERN_VIEWS(TW_ENUMERATOR) count };

constexpr std::array<const char*, size_t(PatternField::count)> kFields{TW_ATTENTION_FIELDS(TW_STRING)
                                                                           TW_PATTERN_FIELDS(TW_STRING)};
constexpr std::array<const char*, size_t(PatternSlot::count)> kSlots{TW_ATTENTION_VIEWS(TW_STRING)
                                                                         TW_PATTERN_VIEWS(TW_STRING)};

PatternField axisOf(PatternField first, int axis) { return PatternField(size_t(first) + size_t(axis)); }

void readGrid(const Numbers& n, AttentionProblem& p) {
  Grid& g = p.grid;
  const auto count = [&](PatternField first, int axis, int32_t most) {
    const PatternField f = axisOf(first, axis);
    return Token(n.whole(size_t(f), kFields[size_t(f)], 1, most));
  };
  g.rank = int32_t(n.whole(size_t(PatternField::rank), "rank", 1, kMaxRank));
  g.isClipped = n.whole(size_t(PatternField::clipped), "clipped", 0, 1) == 1;
  int64_t tokens = 1, groups = 1;
  for (int a = 0; a < g.rank; ++a) {
    g.length[a] = Token(n.whole(size_t(axisOf(PatternField::length0, a)), "a length", 0, kMaxTokens));
    tokens *= g.length[a];
    if (tokens > kMaxTokens) refuse(n.env(), "the grid has too many tokens");
    if (g.length[a] == 0) continue;  // nothing to see and nobody to see it
    g.dilation[a] = count(PatternField::dilation0, a, g.length[a]);
    g.kernel[a] = count(PatternField::kernelSize0, a, g.isClipped ? kMaxTokens : g.length[a] / g.dilation[a]);
    g.stride[a] = count(PatternField::stride0, a, g.kernel[a]);
    g.isCausal[a] = n.whole(size_t(axisOf(PatternField::causal0, a)), "causal", 0, 1) == 1;
    groups *= g.dilation[a];
    p.rules.relativeBias.reach[a + kMaxRank - g.rank] = g.kernel[a] - 1;
  }
  if (tokens != p.queries || tokens != p.keys) refuse(n.env(), "a grid's queries and keys are its tokens");
  if (groups > kMaxTokens) refuse(n.env(), "the grid has too many dilation groups");
}

void readShards(const Numbers& n, AttentionProblem& p) {
  ShardOptions& s = p.shards;
  const auto count = [&](PatternField f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  s.blockSize = count(PatternField::shardBlockSize, 1);
  s.localBlocks = count(PatternField::shardLocalBlocks, 0);
  s.localBlocksRight = count(PatternField::shardLocalBlocksRight, 0);
  s.vertStride = count(PatternField::shardVertStride, 1);
  s.headStep = count(PatternField::shardHeadStep, -kMaxTokens);
  s.headOffset = count(PatternField::shardHeadOffset, -kMaxTokens);
  s.headBase = count(PatternField::shardHeadBase, 0);
  s.headsPerLayout = count(PatternField::shardHeadsPerLayout, 1);
  s.firstDense = count(PatternField::shardFirstDense, 0);
  s.isRelative = n.whole(size_t(PatternField::shardRelative), "shardRelative", 0, 1) == 1;
}

void readLists(const Numbers& n, AttentionProblem& p) {
  BlockLists& b = p.blocks;
  const auto count = [&](PatternField f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  b.queries = count(PatternField::blockQueries, 1);
  b.keys = count(PatternField::blockKeys, 1);
  b.headsPerList = count(PatternField::headsPerList, 1);
  b.byBatch = count(PatternField::listsByBatch, 0);
  b.byHead = count(PatternField::listsByHead, 0);
  b.hasWindow = n.whole(size_t(PatternField::listWindow), "listWindow", 0, 1) == 1;
}

// Entries of lists in the process's memory: within their data, ascending and apart.
void checkEntries(Napi::Env env, Token keys, const std::vector<int32_t>& begins, const std::vector<int32_t>& counts,
                  const std::vector<int32_t>& starts) {
  if (counts.size() != begins.size()) refuse(env, "there are too few block lists");
  for (size_t i = 0; i < begins.size(); ++i) {
    const int64_t begin = begins[i], end = begin + counts[i];
    if (begin < 0 || counts[i] < 0 || end > int64_t(starts.size())) refuse(env, "a block list ends outside its data");
    for (int64_t e = begin; e < end; ++e) {
      const bool isAscending = e == begin || int64_t(starts[size_t(e)]) >= int64_t(starts[size_t(e - 1)]) + keys;
      if (starts[size_t(e)] < 0 || starts[size_t(e)] > kMaxTokens || !isAscending) {
        refuse(env, "the entries of a block list must ascend and not overlap");
      }
    }
  }
}

void readListViews(const Views& views, Napi::Env env, AttentionProblem& p) {
  BlockLists& b = p.blocks;
  const View begins = views.at(PatternSlot::blockBegins), counts = views.at(PatternSlot::blockCounts),
             starts = views.at(PatternSlot::blockStarts);
  const int64_t lists = b.count(p.sequences, p.outputHeads(), p.longestQueries());
  if (smaller(begins.bytes, counts.bytes) / int64_t(sizeof(int32_t)) < lists) {
    refuse(env, "there are too few block lists");
  }
  const std::vector<int32_t>& begin = views.keep(begins);
  b.begins = begin.data();
  if (counts.isOnDevice() && starts.isOnDevice()) {  // a selection's own
    for (const int32_t first : begin) {
      if (first < 0 || first > starts.bytes / int64_t(sizeof(int32_t)))
        refuse(env, "a block list begins outside its data");
    }
    b.counts = {reinterpret_cast<const int32_t*>(counts.data), true};
    b.starts = {reinterpret_cast<const int32_t*>(starts.data), true};
    return;
  }
  const std::vector<int32_t>&count = views.keep(counts), &start = views.keep(starts);
  checkEntries(env, b.keys, begin, count, start);
  b.counts = count.data();
  b.starts = start.data();
  if (const View addends = views.at(PatternSlot::blockAddends); addends.isPresent) {
    if (addends.isOnDevice() || addends.bytes != int64_t(start.size() * sizeof(float))) {
      refuse(env, "one addend per entry, in the process's memory");
    }
    b.addends = reinterpret_cast<const float*>(addends.data);
  }
  const View masks = views.at(PatternSlot::blockMasks);
  if (!masks.isPresent) return;
  if (masks.isOnDevice()) refuse(env, "token masks must lie in the process's memory");
  const std::vector<int32_t>& indices = views.keep(views.at(PatternSlot::blockMaskIndex));
  if (indices.size() != start.size()) refuse(env, "one mask index per entry");
  const int64_t known = masks.bytes / (int64_t(b.queries) * b.keys);
  for (const int32_t index : indices) {
    if (index >= known) refuse(env, "a token mask lies outside its data");
  }
  b.maskIndex = indices.data();
  b.masks = reinterpret_cast<const uint8_t*>(masks.data);
}

void readTables(const Numbers& n, AttentionProblem& p) {
  RangeTables& r = p.ranges;
  const auto count = [&](PatternField f, int32_t least) { return n.count(size_t(f), kFields[size_t(f)], least); };
  r.headsPerTable = count(PatternField::headsPerRanges, 1);
  r.byBatch = count(PatternField::rangesByBatch, 0);
  r.byHead = count(PatternField::rangesByHead, 0);
}

// Ranges are in order, and none ends behind the keys.
void checkRanges(Napi::Env env, Token keys, const std::vector<int32_t>& offsets, const std::vector<int32_t>& bounds) {
  if (offsets.front() != 0 || int64_t(offsets.back()) * 2 != int64_t(bounds.size())) {
    refuse(env, "the offsets of ranges must go from 0 to their number");
  }
  for (size_t row = 0; row + 1 < offsets.size(); ++row) {
    if (offsets[row + 1] < offsets[row]) refuse(env, "the offsets of ranges must not fall");
  }
  for (size_t row = 0; row + 1 < offsets.size(); ++row) {
    int64_t least = 0;
    for (size_t i = 2 * size_t(offsets[row]); i < 2 * size_t(offsets[row + 1]); i += 2) {
      if (bounds[i] < least || bounds[i + 1] <= bounds[i] || bounds[i + 1] > keys) {
        refuse(env, "the ranges of a query must ascend apart from each other, up to the keys");
      }
      least = int64_t(bounds[i + 1]) + 1;
    }
  }
}

void readRangeViews(const Views& views, Napi::Env env, AttentionProblem& p) {
  RangeTables& r = p.ranges;
  const std::vector<int32_t>&offsets = views.keep(views.at(PatternSlot::rangeOffsets)),
        &bounds = views.keep(views.at(PatternSlot::rangeBounds));
  const int64_t rows = r.count(p.sequences, p.outputHeads()) * p.queries;
  if (rows >= std::numeric_limits<int32_t>::max() || rows + 1 > int64_t(offsets.size())) {
    refuse(env, "a row of ranges for each query");
  }
  checkRanges(env, p.keys, offsets, bounds);
  r.offsets = offsets.data();
  static_assert(sizeof(Range) == 2 * sizeof(int32_t), "bounds are ranges");
  r.ranges = reinterpret_cast<const Range*>(bounds.data());
}

// Windows that differ by head: a number for all, or one per KV head or query head.
void readWindowViews(const Views& views, Napi::Env env, AttentionProblem& p) {
  const View lefts = views.at(PatternSlot::windowLefts), rights = views.at(PatternSlot::windowRights),
             sinks = views.at(PatternSlot::windowSinks);
  if (!lefts.isPresent) return;
  const auto read = [&](const View& view, Token least) {
    std::vector<Token> list = copyOf(env, view);
    const size_t count = list.size();
    if (count != 1 && count != size_t(p.kvHeads) && count != size_t(p.queryHeads)) {
      refuse(env, "windows are given for all heads, per KV head or per query head");
    }
    for (const Token tokens : list) {
      if (tokens < least || tokens > kMaxTokens) refuse(env, "a window has a bad number of tokens");
    }
    return list;
  };
  setHeadWindows(p, read(lefts, -1), read(rights, 0), read(sinks, 0), views.newList());
}

}  // namespace

const Names kAttentionFields = kFields;
const Names kAttentionViews = kSlots;

void readPattern(const Numbers& n, AttentionProblem& p) {
  p.pattern = static_cast<PatternKind>(n.whole(size_t(Field::pattern), "pattern", 0, int32_t(kLastPattern)));
  switch (p.pattern) {
    case PatternKind::window: return;
    case PatternKind::neighborhood: return readGrid(n, p);
    case PatternKind::stridedShards: return readShards(n, p);
    case PatternKind::blocks: return readLists(n, p);
    case PatternKind::ranges: return readTables(n, p);
  }
}

void readPatternViews(const Numbers& n, const Views& views, AttentionProblem& p) {
  if (p.pattern == PatternKind::window) readWindowViews(views, n.env(), p);
  if (p.pattern == PatternKind::blocks) readListViews(views, n.env(), p);
  if (p.pattern == PatternKind::ranges) readRangeViews(views, n.env(), p);
}

}  // namespace tilewise
