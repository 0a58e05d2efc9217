// Requests of explain(): tiles to count by, boxes to look from; and the plan as lib/ reads it.
// Reader: someone who follows a count from core/plan/plan.h to explain().
#pragma once

#include <napi.h>

#include "../../core/plan/plan.h"
#include "../../core/plan/selection_bounds.h"
#include "request.h"

namespace tilewise {

// Sizes, pattern, masks and lengths of an attention request, and no other data.
Request readShape(Napi::Env env, const Napi::Value& numbers, const Napi::Value& views);
// The same of a selection request: no operands, no lists.
SelectionProblem readSelectionShape(Napi::Env env, const Napi::Value& numbers);
// The same of requests of linear attention and its kin: no operands, no states, sequences of equal lengths.
Request readLinearShape(Napi::Env env, const Napi::Value& numbers);
Request readDeltaShape(Napi::Env env, const Napi::Value& numbers);
Request readCumulativeShape(Napi::Env env, const Napi::Value& numbers);

// The third argument of explain(): [isDynamic, queries and keys of a tile per axis], 0 where the backend's own choice
// stands. Returns whether anything was asked for.
bool readTiles(Napi::Env env, const Napi::Value& tiles, const AttentionProblem& problem, TileRule& rule);

Napi::Object toObject(Napi::Env env, const Plan& plan);

// The third argument of sights(): [head, begin, end] of every range of queries; for grids [dilation group, axis, then
// begin and end of every range of places of that axis]. With a rule the tiles of keys that they visit.
std::vector<Seen> readSights(Napi::Env env, const Napi::Value& boxes, const AttentionProblem& problem,
                             const TileRule* rule);
// [box, begin, end, isInterior] of every run, in one Int32Array.
Napi::Value toArray(Napi::Env env, const std::vector<Seen>& seen);

}  // namespace tilewise
