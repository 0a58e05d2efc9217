// core is host and device code: this kernel uses its geometry and softmax the way a GPU loop will, and only has to
// compile.
#include "../../core/problem.h"
#include "../../core/softmax.h"
#include "../../core/tile_map.h"
#include "../../core/visits.h"

using namespace tilewise;

__global__ void walk(const __grid_constant__ Problem p, TileMap map, float* out) {
  const Sequence sequence = p.sequence(int32_t(blockIdx.x));
  const Window window = windowOf(p.window, sequence.queries.size(), sequence.keys.size());
  const TileMap::Row row = map.at(threadIdx.x);
  SoftmaxState state;
  forEachRun(window, row.head, Box<1>{{{row.token, row.token + 1}}}, [&](const Run& run) {
    for (Token key = run.row.places.begin; key < run.row.places.end; ++key) {
      SoftmaxState one;
      one.max = biasToLog2(float(key));
      one.sum = 1;
      merge(state, one);
    }
  });
  const float factor = finishRow(state, p.sink(row.head));
  out[threadIdx.x] = factor * state.lse() + fromFloat16(toFloat16(factor)) + fromBfloat16(toBfloat16(factor));
}
