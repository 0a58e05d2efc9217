// See launch_plan.h.
#include "launch_plan.h"

#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include "../machine/aligned_rows.h"
#include "tuning.h"

namespace tilewise::cuda {
namespace {

// Which tiles of dims a pattern has in instances.h: TW_WINDOW_DIM, TW_SMALL_DIM, TW_ATTENTION_DIM.
bool hasTile(std::string_view pattern, int dim) {
  const bool isWindow = pattern == "window";
  if (dim == 96 || dim == 192) return isWindow;
  return dim > 32 || isWindow || pattern == "neighborhood" || pattern == "blocks";
}

// Likewise of kernels whose warps divide the keys: TW_WINDOW_DIM and TW_BLOCKS_DIM.
bool hasDecodeTile(std::string_view pattern, int dim) { return dim < 256 || pattern == "window"; }

// Kernels with outputs of 256 dims have no register for factors on scores and for codes: those run in wide kernels.
int tileDim(const AttentionProblem& p, std::string_view pattern) {
  const int most = p.hasFactors() || p.store.codes ? 192 : 256;
  for (int dim : {32, 64, 96, 128, 192, 256}) {
    if (hasTile(pattern, dim) && larger(p.headDim, p.valueDim) <= dim && dim <= most) return dim;
  }
  return kWideColumns;
}

// Whether no sink tokens follow keys that are not in use: only the gather kernel has a register for where they end.
bool areSinksFirst(const AttentionProblem& p) { return p.window.sinkTokens == 0 || !p.keyStarts; }

// Nothing but a pattern over contiguous keys: the stream kernel has registers for no more.
bool fitsStream(const AttentionProblem& p) {
  const ScoreScale scale = p.scoreScale();
  return scale.canWait && !scale.hasCap() && p.extraTokens == 0 && p.store.isDense() && areSinksFirst(p) &&
         !p.gate.isPresent();
}

int log2Of(int n) {
  int log2 = 0;
  while (1 << log2 < n) ++log2;
  return log2;
}

// Tiles of a grid: the boxes of so many queries that visit the fewest keys.
void cutGrid(const Grid& grid, int rows, AttentionParams& params) {
  Token box[kMaxRank];
  chooseBox(grid, rows, 0, box);
  for (int i = 0; i < kMaxRank; ++i) {
    params.boxLog2[i] = log2Of(box[i]);
    params.boxes[i] = ceilDiv(grid.groupLength(i), box[i]);
  }
}

const char* nameOfFeed(KeyFeed feed) {
  const char* names[] = {"stream", "gather", "decode", "wide"};
  return names[int(feed)];
}

}  // namespace

std::string LaunchPlan::kernel() const {
  const std::string name = std::string("attention_") + nameOfFeed(feed) + "_" + traitsOf(params.problem).name + "_" +
                           nameOf(params.problem.dtype) + "_" + std::to_string(dim);
  return valueDim == dim ? name : name + "_" + std::to_string(valueDim);
}

TileChoice tilesOf(const LaunchPlan& plan, int rank) {
  const AttentionParams& params = plan.params;
  TileChoice choice;
  TileRule& rule = choice.rule;
  const std::string rows = std::to_string(plan.rows), keys = std::to_string(plan.sizes.keys);
  if (plan.feed == KeyFeed::stream) {
    rule.queries[0] = plan.rows;
    rule.keys[0] = plan.sizes.keys;
    rule.isDynamic = true;
    choice.why = rows + " queries are a block of threads (stream kernel), which meets keys " + keys + " at a time";
    return choice;
  }
  rule.isCut = true;
  rule.maskKeys = kEffectKeys;
  choice.why = rows + " rows are a block of threads (" + nameOfFeed(plan.feed) +
               " kernel); the keys that some of them see are brought together, " + keys + " at a time";
  const PatternTraits traits = traitsOf(params.problem);
  if (traits.isGrid) {
    for (int a = 0; a < rank; ++a) rule.queries[a] = 1 << params.boxLog2[a + kMaxRank - rank];
    return choice;
  }
  rule.queries[0] = plan.rows;
  rule.headsPerTile = params.map.headsPerToken;
  rule.rowsPerBlock = params.rowsPerBlock;
  rule.keys[0] = traits.keyBlock > 0 ? traits.keyBlock : plan.sizes.keys;
  if (rule.headsPerTile > 1)
    choice.why += "; shared by the " + std::to_string(rule.headsPerTile) + " heads of a KV head";
  return choice;
}

int64_t LaunchPlan::tilesOf(Token queries) const {
  if (traitsOf(params.problem).isGrid) {
    return int64_t(params.problem.grid.groups()) * params.boxes[0] * params.boxes[1] * params.boxes[2];
  }
  const int64_t all = params.map.rows(queries);
  if (params.rowsPerBlock == 0) return ceilDiv<int64_t>(all, rows);
  return ceilDiv<int64_t>(all, params.rowsPerBlock) * ceilDiv<int64_t>(params.rowsPerBlock, rows);
}

LaunchPlan planLaunch(const AttentionProblem& problem, Token queries, Token keys) {
  LaunchPlan plan{};
  AttentionParams& params = plan.params;
  params.problem = problem;
  params.scale = problem.scoreScale();
  const PatternTraits traits = traitsOf(problem);
  if (traits.isGrid) params.problem.grid = asRank3(problem.grid);
  const AttentionProblem& p = params.problem;
  plan.dim = tileDim(p, traits.name);

  const int32_t group = p.headsPerKvHead();
  const bool isShared = traits.sharesKeys(group);
  const int64_t sharedRows = int64_t(queries) * (isShared ? group : 1);
  const bool isOneBlock = queries <= traits.queryBlock;
  const bool isWide = plan.dim == kWideColumns;
  const int decodeRows = tileRows(tileSizes(2, plan.dim, KeyFeed::decode), KeyFeed::decode);
  if (isWide) {
    plan.feed = KeyFeed::wide;
  } else if (traits.hasDecodeKernel && hasDecodeTile(traits.name, plan.dim) && isOneBlock && p.extraTokens == 0 &&
             areSinksFirst(p) && sharedRows <= decodeRows) {
    plan.feed = KeyFeed::decode;
  } else {
    plan.feed = traits.hasStreamKernel && fitsStream(p) && sharedRows > kSplitRows ? KeyFeed::stream : KeyFeed::gather;
  }
  const bool hasValueTile = plan.feed == KeyFeed::stream && plan.dim == 192 && sizeOf(p.dtype) == 2;
  plan.valueDim = hasValueTile && p.valueDim <= 128 ? 128 : plan.dim;
  plan.sizes = tileSizes(int(sizeOf(p.dtype)), plan.dim, plan.feed, plan.valueDim);
  plan.rows = tileRows(plan.sizes, plan.feed);

  // Heads of a group share tiles where one head's rows would leave them half empty.
  const Token ownRows = smaller(queries, traits.queryBlock);
  const bool isWorthIt = plan.feed != KeyFeed::stream && ownRows < plan.rows;
  params.map.headsPerToken = isShared && isWorthIt ? group : 1;
  params.maps = p.outputHeads() / params.map.headsPerToken;
  params.rowsPerBlock = isOneBlock ? 0 : params.map.rows(traits.queryBlock);
  params.isHeaviestFirst = !traits.isGrid && p.window.right < keys;

  if (traits.isGrid) cutGrid(p.grid, plan.rows, params);
  params.tiles = uint32_t(plan.tilesOf(queries));

  params.splits = 1;
  params.splitKeys = Token(smaller<int64_t>(kMaxTokens, int64_t(kSplitKeys) * traits.sparsity));
  params.longestQueries = larger<Token>(queries, 1);
  plan.maySplit =
      plan.feed != KeyFeed::stream && !traits.isGrid && isOneBlock && p.extraTokens == 0 && sharedRows <= kSplitRows;
  if (plan.maySplit) params.splits = larger<int32_t>(1, ceilDiv(keys, params.splitKeys));

  params.queryIsAligned = hasAlignedRows(p.query, p.dtype);
  params.keyIsAligned = hasAlignedRows(p.key, p.dtype);
  params.valueIsAligned = hasAlignedRows(p.value, p.dtype);
  params.extraKeysAreAligned = hasAlignedRows(p.extraKeys, p.dtype);
  params.extraValuesAreAligned = hasAlignedRows(p.extraValues, p.dtype);
  params.outIsAligned = hasAlignedRows(p.out, p.dtype);
  return plan;
}

std::vector<PlannedSequences> planSequences(const AttentionProblem& problem, const AttentionProblem& lengths) {
  if (!lengths.cuSeqlensQ) return {{planLaunch(problem, problem.queries, problem.keys), {}}};
  struct Kind {
    Token queries = 0, keys = 0;
    std::vector<int32_t> sequences;
  };
  std::map<std::tuple<std::string, int32_t, bool>, Kind> kinds;
  for (int32_t s = 0; s < problem.sequences; ++s) {
    const Sequence sequence = lengths.sequence(s);
    const Token queries = sequence.queries.size(), keys = sequence.keys.size();
    if (queries == 0) continue;
    const LaunchPlan alone = planLaunch(problem, queries, keys);
    Kind& kind = kinds[{alone.kernel(), alone.params.map.headsPerToken, alone.maySplit}];
    kind.queries = larger(kind.queries, queries);
    kind.keys = larger(kind.keys, keys);
    kind.sequences.push_back(s);
  }
  std::vector<PlannedSequences> all;
  for (auto& [key, kind] : kinds) {
    all.push_back({planLaunch(problem, kind.queries, kind.keys), std::move(kind.sequences)});
  }
  return all;
}

}  // namespace tilewise::cuda
