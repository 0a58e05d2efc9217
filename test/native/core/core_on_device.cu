// core is host and device code: these kernels use its geometry and softmax the way a GPU loop will, and only have to
// compile.
#include "../../../core/op/attention.h"
#include "../../../core/base/softmax.h"
#include "../../../core/base/tile_map.h"
#include "../../../core/pattern/stretches.h"

using namespace tilewise;

// One query against all keys it sees.
template <class Pattern>
__device__ float walk(const Pattern& pattern, int head, const Box<Pattern::kRank>& query, const float* sink) {
  SoftmaxState state;
  const auto add = [&](const Stretch& stretch) {
    for (Token place = stretch.run.places.begin; place < stretch.run.places.end; ++place) {
      SoftmaxState one;
      one.max = float(stretch.run.token(place));
      one.sum = 1;
      merge(state, one);
    }
  };
  const typename Pattern::Sight sight = pattern.look(head, query);
  forEachRun(pattern, sight, [&](const KeyRun& run) { forEachStretch(pattern, sight, run, 1, add); });
  const float factor = finishRow(state, sink);
  return factor * state.lse() + fromFloat16(toFloat16(factor)) + fromBfloat16(toBfloat16(factor));
}

template <int Rank>
__device__ float walkGrid(const AttentionProblem& p, int head) {
  Box<Rank> query;
  for (int a = 0; a < Rank; ++a) query.axis[a] = {Token(threadIdx.x), Token(threadIdx.x + 1)};
  const auto pattern = patternOf<Neighborhood<Rank>>(p, p.sequence(0), int32_t(blockIdx.y));
  return walk(pattern, head, query, p.sink(head));
}

__global__ void walkAll(const __grid_constant__ AttentionProblem p, TileMap map, float* out) {
  const Sequence s = p.sequence(int32_t(blockIdx.x));
  const TileMap::Row row = map.at(threadIdx.x);
  const Box<1> query{{{row.token, row.token + 1}}};
  const float* sink = p.sink(row.head);
  float sum = walk(patternOf<WindowOrRanges>(p, s), row.head, query, sink);
  sum += walk(patternOf<StridedShards>(p, s), row.head, query, sink);
  sum += walk(patternOf<BlockList>(p, s), row.head, query, sink);
  out[threadIdx.x] = sum + walkGrid<1>(p, row.head) + walkGrid<2>(p, row.head) + walkGrid<3>(p, row.head);
}
