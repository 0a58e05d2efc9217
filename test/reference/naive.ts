// Attention in float32, as a careful programmer would write it without a library: the yardstick of rounding error.
// Reader: whoever sets the error bound (conformance/check.ts). Every operation rounds to float32; inputs are as stored,
// the output is left in float32 so that its distance to float64 is arithmetic alone.

import { toNumbers } from './operand.js';
import { headsOf, type Problem, type Result, rowsOf, sequencesOf, shapeOf } from './problem.js';

const f = Math.fround;

export function naiveAttention(problem: Problem): Result {
  const { batch, heads, queries, keys, headDim, valueDim } = shapeOf(problem);
  const queryHeads = problem.query.dims[1];
  const kvHeads = problem.key.dims[1];
  const q = Float32Array.from(toNumbers(problem.query));
  const k = Float32Array.from(toNumbers(problem.key));
  const v = Float32Array.from(toNumbers(problem.value));
  const scale = f(problem.scale ?? 1 / Math.sqrt(headDim));
  const softcap = f(problem.softcap ?? 0);

  const out = new Float64Array(batch * heads * queries * valueDim);
  const lse = new Float64Array(batch * heads * queries).fill(-Infinity);
  const accumulator = new Float32Array(valueDim);
  const weights = new Float32Array(keys);
  const seen = new Int32Array(keys);

  for (const sequence of sequencesOf(problem)) {
    const b = sequence.batch;
    for (let head = 0; head < heads; head++) {
      const { queryHead, kvHead } = headsOf(problem, head);
      const rows = rowsOf(problem, sequence, head);
      for (let i = 0; i < sequence.queries; i++) {
        const query = ((b * queryHeads + queryHead) * queries + sequence.firstQuery + i) * headDim;
        const row = (b * heads + head) * queries + sequence.firstQuery + i;

        let count = 0;
        let max = rows.sink === undefined ? -Infinity : f(rows.sink);
        for (let j = 0; j < sequence.keys; j++) {
          if (!rows.sees(i, j)) continue;
          const key = ((b * kvHeads + kvHead) * keys + sequence.firstKey + j) * headDim;
          let score = 0;
          for (let d = 0; d < headDim; d++) score = f(score + f(q[query + d] * k[key + d]));
          score = f(score * scale);
          if (softcap > 0) score = f(softcap * f(Math.tanh(f(score / softcap))));
          score = f(score + f(rows.added(i, j)));
          seen[count] = sequence.firstKey + j;
          weights[count++] = score;
          max = Math.max(max, score);
        }

        let sum = rows.sink === undefined ? 0 : f(Math.exp(f(rows.sink - max)));
        for (let n = 0; n < count; n++) {
          weights[n] = Math.exp(f(weights[n] - max));
          sum = f(sum + weights[n]);
        }
        if (count > 0 || rows.sink !== undefined) lse[row] = f(max + f(Math.log(sum)));
        accumulator.fill(0);
        for (let n = 0; n < count; n++) {
          const weight = f(weights[n] / sum);
          const value = ((b * kvHeads + kvHead) * keys + seen[n]) * valueDim;
          for (let d = 0; d < valueDim; d++) {
            accumulator[d] = f(accumulator[d] + f(weight * v[value + d]));
          }
        }
        out.set(accumulator, row * valueDim);
      }
    }
  }
  return { out, lse };
}
