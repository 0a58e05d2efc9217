// See plan.h.
#include "plan.h"

#include "reading.h"

namespace tilewise {

bool readTiles(Napi::Env env, const Napi::Value& tiles, const AttentionProblem& p, TileRule& rule) {
  const Numbers n(env, tiles, 1 + 2 * kMaxRank);
  const PatternTraits traits = traitsOf(p);
  rule.isDynamic = n.whole(0, "isDynamic", 0, 1) == 1;
  bool isAsked = rule.isDynamic;
  const int rank = traits.isGrid ? p.grid.rank : 1;
  for (int a = 0; a < rank; ++a) {
    const Token queries = n.count(size_t(1 + a), "a query tile"),
                keys = n.count(size_t(1 + kMaxRank + a), "a key tile");
    if (queries > 0) rule.queries[a] = queries;
    if (keys > 0) rule.keys[a] = keys;
    if (queries > 0 || keys > 0) isAsked = true;
  }
  if (!isAsked) return false;
  // Tiles as any processor may cut them: of one head, and computed whole.
  if (n.at(1) == 0) rule.queries[0] = larger<Token>(1, rule.queries[0] / rule.headsPerTile);
  rule.headsPerTile = 1;
  rule.rowsPerBlock = traits.hasQueryBlocks() ? traits.queryBlock : 0;
  rule.isCut = false;
  rule.maskKeys = 1;
  rule.isMaskedByLine = false;
  return true;
}

Napi::Object toObject(Napi::Env env, const Plan& plan) {
  Napi::Object result = Napi::Object::New(env);
  const auto set = [&](const char* name, double value) { result.Set(name, Napi::Number::New(env, value)); };
  const auto setAxes = [&](const char* name, const Token(&axes)[kMaxRank]) {
    Napi::Array array = Napi::Array::New(env, kMaxRank);
    for (uint32_t a = 0; a < kMaxRank; ++a) array.Set(a, Napi::Number::New(env, axes[a]));
    result.Set(name, array);
  };
  setAxes("queryTile", plan.rule.queries);
  setAxes("keyTile", plan.rule.keys);
  set("headsPerTile", plan.rule.headsPerTile);
  set("maskKeys", plan.rule.maskKeys);
  set("maps", double(plan.maps));
  set("queryTiles", double(plan.sum.queryTiles));
  set("keyTiles", double(plan.sum.keyTiles));
  set("visited", double(plan.sum.visited));
  set("interior", double(plan.sum.interior));
  set("mostVisited", double(plan.sum.most));
  set("computed", double(plan.sum.computed));
  set("unmasked", double(plan.sum.unmasked));
  set("useful", double(plan.sum.useful));
  set("keysTouched", double(plan.keysTouched));
  result.Set("variesByHead", plan.variesByHead);
  set("worstHead", plan.worstHead);
  set("worstHeadVisited", double(plan.worst.visited));
  set("worstHeadQueryTiles", double(plan.worst.queryTiles));
  set("worstHeadComputed", double(plan.worst.computed));
  set("worstHeadUseful", double(plan.worst.useful));
  return result;
}

namespace {

Range readRange(const Numbers& n, size_t i, Token length) {
  const Token begin = Token(n.whole(i, "a query", 0, length - 1));
  return {begin, Token(n.whole(i + 1, "a query", begin + 1, length))};
}

// [dilation group, axis, then begin and end of every range of places].
std::vector<Seen> readGridSights(const Numbers& n, const Grid& grid, const TileRule* rule) {
  if (n.size() < 2) refuse(n.env(), "the request lacks fields");
  const int32_t group = int32_t(n.whole(0, "a dilation group", 0, grid.groups() - 1));
  const int axis = int(n.whole(1, "an axis", 0, grid.rank - 1));
  const Token length = neighborhoodOf<kMaxRank>(grid, group).axis[axis].length;
  std::vector<Range> boxes;
  for (size_t i = 2; i + 1 < n.size(); i += 2) boxes.push_back(readRange(n, i, length));
  return seenAlong(grid, group, axis, boxes, rule);
}

}  // namespace

std::vector<Seen> readSights(Napi::Env env, const Napi::Value& boxes, const AttentionProblem& p, const TileRule* rule) {
  const Numbers n(env, boxes, 0);
  if (p.sequences == 0) return {};
  const PatternTraits traits = traitsOf(p);
  if (traits.isGrid) return readGridSights(n, p.grid, rule);
  std::vector<Viewer> viewers;
  viewers.reserve(n.size() / 3);
  for (size_t i = 0; i + 2 < n.size(); i += 3) {
    const int32_t head = int32_t(n.whole(i, "a head", 0, p.outputHeads() - 1));
    const Range queries = readRange(n, i + 1, p.queries);
    if (queries.begin / traits.queryBlock != (queries.end - 1) / traits.queryBlock) {
      refuse(env, "a box crosses blocks");
    }
    viewers.push_back({head, queries});
  }
  return seenBy(p, viewers, rule);
}

Napi::Value toArray(Napi::Env env, const std::vector<Seen>& seen) {
  Napi::Int32Array array = Napi::Int32Array::New(env, seen.size() * 4);
  for (size_t i = 0; i < seen.size(); ++i) {
    array[4 * i] = seen[i].box;
    array[4 * i + 1] = seen[i].begin;
    array[4 * i + 2] = seen[i].end;
    array[4 * i + 3] = seen[i].isInterior;
  }
  return array;
}

}  // namespace tilewise
