// See plan_request.h.
#include "plan_request.h"

#include "reading.h"

namespace tilewise {

bool readTiles(const Napi::CallbackInfo& info, const Problem& p, TileRule& rule) {
  const Numbers n(info, 1 + 2 * kMaxRank, 2);
  rule.isDynamic = n.whole(0, "isDynamic", 0, 1) == 1;
  bool isAsked = rule.isDynamic;
  const int rank = p.pattern == PatternKind::neighborhood ? p.grid.rank : 1;
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
  rule.rowsPerBlock = p.pattern == PatternKind::blocks ? p.blocks.queries : 0;
  rule.isCut = false;
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

std::vector<Seen> readSights(const Napi::CallbackInfo& info, const Problem& p) {
  const bool isGrid = p.pattern == PatternKind::neighborhood;
  const size_t head = isGrid ? 2 : 1;
  const Numbers n(info, head, 2);
  const int axis = isGrid ? int(n.whole(1, "an axis", 0, p.grid.rank - 1)) : 0;
  const int32_t group = isGrid ? int32_t(n.whole(0, "a dilation group", 0, p.grid.groups() - 1)) : 0;
  const Token length = isGrid ? neighborhoodOf<kMaxRank>(p.grid, group).axis[axis].length : p.queries;
  std::vector<Range> boxes((n.size() - head) / 2);
  for (size_t i = 0; i < boxes.size(); ++i) {
    boxes[i].begin = Token(n.whole(head + 2 * i, "a query", 0, length - 1));
    boxes[i].end = Token(n.whole(head + 2 * i + 1, "a query", boxes[i].begin + 1, length));
  }
  if (p.sequences == 0) return {};
  if (isGrid) return seenAlong(p.grid, group, axis, boxes);
  const int32_t which = int32_t(n.whole(0, "a head", 0, p.outputHeads() - 1));
  if (p.pattern == PatternKind::blocks) {
    for (const Range& box : boxes) {
      if (box.begin / p.blocks.queries != (box.end - 1) / p.blocks.queries) refuse(info.Env(), "a box crosses blocks");
    }
  }
  return seenBy(p, which, boxes);
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
