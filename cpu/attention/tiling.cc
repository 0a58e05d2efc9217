// See tiling.h.
#include "tiling.h"

#include "range_tiles.h"
#include "tuning.h"

namespace tilewise::cpu {
namespace {

// Query heads of one KV head whose rows share a tile or a decode step. Lists of keys are worth sharing at any length:
// a block of 64 queries fills four panels of 16, with a group of 4 heads sixteen.
int32_t headsPerToken(const AttentionProblem& p, const PatternTraits& traits, Token queries, int panel) {
  const int32_t group = p.headsPerKvHead();
  const bool isWorthIt = queries < panel || (traits.hasQueryBlocks() && !traits.isPlanned);
  return isWorthIt && traits.sharesKeys(group) ? group : 1;
}

// Whether the decode loop runs rows of several queries in each of `heads` KV heads sooner than panels. It splits the
// keys, which panels don't.
bool isDecodeCheaper(const Kernels& kernels, int64_t rows, int64_t heads, Token keys) {
  if (rows > kDecodeMostRows) return false;
  const int64_t panels = ceilDiv<int64_t>(rows, kernels.panel) * kernels.panel;
  return (heads < kFewHeads && keys > kDecodeChunk) ||
         double(kernels.decodeRows(int(rows))) * kDecodeRowCost < double(panels);
}

// Keys that a query of this head sees around it.
int64_t reachOf(const WindowOptions& window, int32_t head) {
  if (!window.heads.differ()) return int64_t(window.left) + window.right + 1;
  const HeadWindow own = window.heads.of(head);
  return int64_t(own.left) + own.right + 1;
}

// Rows of each of so many heads that a dense tile takes.
Token queriesTogether(const AttentionProblem& p, const Tiling& t, int32_t heads, int64_t rows, int threads) {
  return tileQueries(rows, int64_t(t.maps / heads) * p.sequences, heads * (p.headDim + p.valueDim), threads,
                     t.kernels->panel);
}
// How many heads of few rows share a dense tile, so that a block's keys of all of them are read in the order they lie
// in.
int32_t headsBesideTogether(const AttentionProblem& p, const Tiling& t, int threads) {
  if (!p.store.isDense() || p.skipsClosedRows() || !traitsOf(p).areAlike(p.outputHeads())) return 1;
  const int64_t most = smaller<int64_t>(headsBeside(p), int64_t(t.maps) * p.sequences / threads);
  int32_t heads = 1;
  while (2 * heads <= most && t.maps % (2 * heads) == 0) heads *= 2;
  return heads;
}
// How many heads share a dense tile, so that a bias of its pairs is read and laid out once for all of them.
int32_t headsTogether(const AttentionProblem& p, const Tiling& t, int64_t rows, int threads) {
  const bool areBiased = p.rules.bias.isPresent() && p.rules.bias.query != 0 && p.rules.areSameForHeads();
  if (!areBiased || !p.store.isDense() || p.skipsClosedRows()) return 1;
  if (t.map.headsPerToken > 1 || !traitsOf(p).areAlike(p.outputHeads())) return 1;
  int32_t heads = kHeadsTogether;
  while (heads > 1 && (t.maps % heads > 0 || queriesTogether(p, t, heads, rows, threads) < kQueriesTogether))
    heads /= 2;
  return heads;
}

void tileGrid(const AttentionProblem& p, Tiling& t) {
  const int rank = p.grid.rank;
  Token panel[kMaxRank];
  chooseBox(asRank3(p.grid), t.kernels->panel, kRunOverhead, panel);
  int64_t panels = 1;
  Token box[kMaxRank] = {1, 1, 1};
  for (int a = 0; a < kMaxRank; ++a) t.panel[a] = t.perAxis[a] = 1;
  for (int a = 0; a < rank; ++a) t.panel[a] = panel[a + kMaxRank - rank];
  // Tiles grow from one panel, each time along the axis that adds the smallest share of keys.
  int64_t panelsOfGrid = 1;
  for (int a = 0; a < rank; ++a) panelsOfGrid *= ceilDiv(p.grid.groupLength(a), t.panel[a]);
  const int64_t most = clamp<int64_t>(panelsOfGrid / kGridTiles, 1, kGridPanels);
  while (panels < most) {
    int best = -1;
    double share = 0;
    for (int a = 0; a < rank; ++a) {
      if (box[a] * t.panel[a] >= p.grid.groupLength(a)) continue;
      const double grows = double(box[a] * t.panel[a]) / double(p.grid.kernel[a] + box[a] * t.panel[a]);
      if (best >= 0 && grows >= share) continue;
      best = a;
      share = grows;
    }
    if (best < 0) break;
    panels = panels / box[best] * (box[best] + 1);
    ++box[best];
  }
  t.tiles = p.grid.groups();
  for (int a = 0; a < kMaxRank; ++a) {
    t.box[a] = box[a] * t.panel[a];
    t.perAxis[a] = a < rank ? ceilDiv(p.grid.groupLength(a), t.box[a]) : 1;
    t.tiles *= t.perAxis[a];
  }
  t.shape.queries = Token(panels * t.kernels->panel);
}

}  // namespace

int32_t headsBeside(const AttentionProblem& p) {
  const PatternTraits traits = traitsOf(p);
  if (!traits.areAlike(p.outputHeads()) && !traits.mixesHeads) return 1;
  const int64_t headStride = p.key.head < 0 ? -p.key.head : p.key.head;
  const int64_t tokenStride = p.key.token < 0 ? -p.key.token : p.key.token;
  if (headStride >= tokenStride) return 1;
  const int64_t heads = ceilDiv<int64_t>(kBesideBytes, p.headDim * sizeOf(p.keyType));
  return int32_t(smaller<int64_t>(heads, kMostBundle));
}

Tiling tilingOf(const AttentionProblem& p, const Sequence& sequence, const Kernels& kernels, int threads) {
  const Token queries = sequence.queries.size();
  const PatternTraits traits = traitsOf(p);
  const bool isFloat = p.keyType == DType::float32;
  Tiling t{};
  t.isGrid = traits.isGrid;
  t.map.headsPerToken = headsPerToken(p, traits, queries, kernels.panel);
  t.maps = p.outputHeads() / t.map.headsPerToken;
  const int64_t rows = t.map.rows(queries);
  t.isDecode = !traits.isGrid && queries <= traits.queryBlock && p.extraTokens == 0 &&
               (queries == 1 || isDecodeCheaper(kernels, rows, int64_t(t.maps) * p.sequences, sequence.keys.size()));
  t.kernels = &kernels;
  t.rowsPerBlock = t.map.rows(smaller(queries, traits.queryBlock));
  const int64_t rowsAlike = !traits.isPlanned ? t.rowsPerBlock : RangeTiles(p).areLong ? rows : 0;
  // Narrow panels leave out more of what a gate closes.
  const bool mayBeWide = !traits.isGrid && kernels.wide && !p.skipsClosedRows();
  if (mayBeWide && rowsAlike >= kWideFromRows) t.kernels = kernels.wide;
  const int panel = t.kernels->panel;
  t.shape.keys = blockKeys(p.headDim, p.valueDim);
  if (traits.isGrid) {
    t.shape.keys = 2 * t.shape.keys;
    t.readsInPlace = isFloat;
    tileGrid(p, t);
  } else if (traits.isDense) {
    t.alignsBlocks = true;
    if (rows <= kFewPanels * panel) t.shape.keys = smaller(t.shape.keys, kFewPanelKeys);
    t.readsInPlace = isFloat && rows > kInPlacePanels / 4 * panel;
    t.inPlaceReach = kInPlacePanels * panel;
    t.shape.heads = headsTogether(p, t, rows, threads);
    t.shape.sharesTables = t.shape.heads > 1;
    if (t.shape.heads == 1 && rows <= kFewPanels * panel) t.shape.heads = headsBesideTogether(p, t, threads);
    t.shape.queries = queriesTogether(p, t, t.shape.heads, rows, threads);
    t.tiles = ceilDiv<int64_t>(rows, t.shape.queries);
  } else {
    const int64_t most = traits.isPlanned ? t.rowsPerBlock : smaller<int64_t>(t.rowsPerBlock, kSparseQueries);
    t.shape.queries = Token(ceilDiv<int64_t>(most, panel) * panel);
    t.tiles = ceilDiv<int64_t>(rows, t.rowsPerBlock) * ceilDiv<int64_t>(t.rowsPerBlock, t.shape.queries);
  }
  return t;
}

TileTask Tiling::task(const AttentionProblem& p, const Sequence& sequence, int32_t group, int64_t index,
                      const Pause& pause) const {
  TileTask task{&p, sequence, map.next(group), 0, 0, shape, alignsBlocks, readsInPlace, {}, pause, {}};
  if (inPlaceReach > 0) task.readsInPlace = readsInPlace && reachOf(p.window, task.map.firstHead) < inPlaceReach;
  if (isGrid) {
    for (int a = kMaxRank - 1; a >= 0; --a) {
      const Token begin = Token(index % perAxis[a]) * box[a];
      task.grid.queries.axis[a] = {begin, begin + box[a]};
      task.grid.panel[a] = panel[a];
      index /= perAxis[a];
    }
    task.grid.group = int32_t(index);
    task.rows = shape.queries;
    return task;
  }
  const int64_t rows = map.rows(sequence.queries.size());
  const int64_t perBlock = ceilDiv<int64_t>(rowsPerBlock, shape.queries);
  const int64_t begin = index / perBlock * rowsPerBlock;
  task.firstRow = begin + index % perBlock * shape.queries;
  const int64_t end = smaller(rows, smaller(begin + rowsPerBlock, task.firstRow + shape.queries));
  task.rows = int32_t(larger<int64_t>(0, end - task.firstRow));
  return task;
}

TileChoice tilesFor(const AttentionProblem& problem, const Kernels& kernels) {
  AttentionProblem p = problem;
  p.ranges.tileQueries = RangeTiles(p).queries;
  const Sequence whole{0, {0, larger<Token>(p.queries, 1)}, {0, p.keys}};
  const Tiling tiling = tilingOf(p, whole, kernels, 1);
  const std::string panel = std::to_string(tiling.kernels->panel), set = tiling.kernels->name;
  TileChoice choice;
  TileRule& rule = choice.rule;
  rule.isCut = true;
  if (tiling.isGrid) {
    for (int a = 0; a < kMaxRank; ++a) rule.queries[a] = tiling.panel[a];
    rule.maskKeys = kEffectKeys;
    rule.isMaskedByLine = true;
    choice.why =
        "the box of " + panel + " queries (" + set +
        ") whose windows together hold the fewest keys; keys are read in rows, each row as far as some query of "
        "the box sees it";
    return choice;
  }
  rule.headsPerTile = tiling.map.headsPerToken;
  rule.rowsPerBlock = tiling.rowsPerBlock;
  rule.queries[0] = tiling.kernels->panel;
  rule.maskKeys = tiling.isDecode ? kDecodeKeys : kEffectKeys;
  const Token keyBlock = traitsOf(p).keyBlock;
  rule.keys[0] = keyBlock > 0 ? keyBlock : tiling.shape.keys;
  choice.why = panel + " rows are a panel of vector registers (" + set + ")";
  if (rule.headsPerTile > 1)
    choice.why += ", shared by the " + std::to_string(rule.headsPerTile) + " heads of a KV head";
  choice.why += keyBlock > 0 ? "; keys in the blocks of the pattern" : "; so many keys and values stay in the L2 cache";
  return choice;
}

}  // namespace tilewise::cpu
