// Attention in float64, as the textbook writes it: one row of scores at a time, softmax, weighted sum of values.
// Reader: anyone judging a result. No tiles, no online softmax: nothing here can share a mistake with the kernels.

import { toNumbers } from './operand.js';
import { headsOf, keyRows, type Problem, type Result, rowsOf, sequencesOf, shapeOf } from './problem.js';

/** Rows that belong to no sequence or see no key are 0, their lse is -Infinity (or the sink's logit). */
export function attention(problem: Problem): Result {
  const { batch, heads, queries, keys, headDim, valueDim } = shapeOf(problem);
  const queryHeads = problem.query.dims[1];
  const q = toNumbers(problem.query);
  const { k, v, extras, row: keyRow, extraRow } = keyRows(problem);
  const scale = problem.scale ?? 1 / Math.sqrt(headDim);
  const softcap = problem.softcap ?? 0;

  const out = new Float64Array(batch * heads * queries * valueDim);
  const lse = new Float64Array(batch * heads * queries).fill(-Infinity);
  const keysSeen = new Int32Array(lse.length);
  const weights = new Float64Array(keys + extras);
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
        let max = rows.sink ?? -Infinity;
        for (let j = 0; j < sequence.keys + extras; j++) {
          const isExtra = j >= sequence.keys;
          if (!isExtra && !rows.sees(i, j)) continue;
          const token = isExtra ? extraRow(b, kvHead, j - sequence.keys) : keyRow(b, kvHead, sequence.firstKey + j);
          const key = token * headDim;
          let score = 0;
          for (let d = 0; d < headDim; d++) score += q[query + d] * k[key + d];
          score *= scale;
          if (softcap > 0) score = softcap * Math.tanh(score / softcap);
          if (!isExtra) score += rows.added(i, j);
          seen[count] = token;
          weights[count++] = score;
          max = Math.max(max, score);
        }
        keysSeen[row] = count;

        let sum = rows.sink === undefined ? 0 : Math.exp(rows.sink - max);
        for (let n = 0; n < count; n++) {
          weights[n] = Math.exp(weights[n] - max);
          sum += weights[n];
        }
        if (count > 0 || rows.sink !== undefined) lse[row] = max + Math.log(sum);
        for (let n = 0; n < count; n++) {
          const weight = weights[n] / sum;
          const value = seen[n] * valueDim;
          for (let d = 0; d < valueDim; d++) {
            out[row * valueDim + d] = out[row * valueDim + d] + weight * v[value + d];
          }
        }
      }
    }
  }
  return { out, lse, keysSeen };
}
