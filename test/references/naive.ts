// Attention in float32, as it is written without a library: the yardstick of rounding error.
// Reader: whoever sets the error bound (conformance/judge.ts). Every operation rounds to float32; inputs are as stored,
// the output is left in float32 so that its distance to float64 is arithmetic alone. It keeps the one convention that
// the numerics contract fixes: scores count in powers of 2, with log2(e) in the factor on the queries.

import { type FloatType, round } from './half.js';
import { toNumbers } from './operand.js';
import { headsOf, keyRows, type Problem, type Result, rowsOf, sequencesOf, shapeOf } from './problem.js';

const f = Math.fround;
const log2e = f(Math.LOG2E);

/** @param precision 'storage' rounds probabilities to the type of the tensors, in which a matrix product takes them */
export function naiveAttention(problem: Problem, precision: 'float32' | 'storage' = 'float32'): Result {
  const type = precision === 'storage' ? (problem.value.type as FloatType) : 'float32';
  const { batch, heads, queries, keys, headDim, valueDim } = shapeOf(problem);
  const queryHeads = problem.query.dims[1];
  const softcap = f(problem.softcap ?? 0);
  const scale = f(f(problem.scale ?? 1 / Math.sqrt(headDim)) * (softcap > 0 ? 1 : log2e));
  const q = Float32Array.from(toNumbers(problem.query), (x) => x * scale);
  const { extras, row: keyRow, extraRow, ...numbers } = keyRows(problem);
  const k = Float32Array.from(numbers.k);
  const v = Float32Array.from(numbers.v);

  const out = new Float64Array(batch * heads * queries * valueDim);
  const lse = new Float64Array(batch * heads * queries).fill(-Infinity);
  const keysSeen = new Int32Array(lse.length);
  const accumulator = new Float32Array(valueDim);
  const weights = new Float32Array(keys + extras);
  const seen = new Int32Array(keys + extras);

  for (const sequence of sequencesOf(problem)) {
    const b = sequence.batch;
    for (let head = 0; head < heads; head++) {
      const { queryHead, kvHead } = headsOf(problem, head);
      const rows = rowsOf(problem, sequence, head);
      for (let i = 0; i < sequence.queries; i++) {
        const query = ((b * queryHeads + queryHead) * queries + sequence.firstQuery + i) * headDim;
        const row = (b * heads + head) * queries + sequence.firstQuery + i;

        let count = 0;
        const sink = rows.sink === undefined ? undefined : f(rows.sink * log2e);
        let max = sink ?? -Infinity;
        for (let j = 0; j < sequence.keys + extras; j++) {
          const isExtra = j >= sequence.keys;
          if (!isExtra && !rows.sees(i, j)) continue;
          const token = isExtra ? extraRow(b, kvHead, j - sequence.keys) : keyRow(b, kvHead, sequence.firstKey + j);
          const key = token * headDim;
          let score = 0;
          for (let d = 0; d < headDim; d++) score = f(score + f(q[query + d] * k[key + d]));
          if (softcap > 0) score = f(f(softcap * log2e) * f(Math.tanh(f(score / softcap))));
          if (!isExtra) score = f(score + f(f(rows.added(i, j)) * log2e));
          seen[count] = token;
          weights[count++] = score;
          max = Math.max(max, score);
        }
        keysSeen[row] = count;

        let sum = sink === undefined ? 0 : f(2 ** f(sink - max));
        for (let n = 0; n < count; n++) {
          weights[n] = 2 ** f(weights[n] - max);
          sum = f(sum + weights[n]);
          if (type !== 'float32') weights[n] = round(type, weights[n]);
        }
        if (count > 0 || sink !== undefined) lse[row] = f(f(max + f(Math.log2(sum))) * f(Math.LN2));
        accumulator.fill(0);
        for (let n = 0; n < count; n++) {
          const weight = f(weights[n] / sum);
          const value = seen[n] * valueDim;
          for (let d = 0; d < valueDim; d++) {
            accumulator[d] = f(accumulator[d] + f(weight * v[value + d]));
          }
        }
        out.set(accumulator, row * valueDim);
      }
    }
  }
  return { out, lse, keysSeen };
}
