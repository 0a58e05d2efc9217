// Attention in float64, as the textbook writes it: one row of scores at a time, softmax, weighted sum of values.
// Reader: anyone judging a result. No tiles, no online softmax: nothing here can share a mistake with the kernels.

import { applyGate } from './gate.js';
import { toNumbers } from './operand.js';
import { keysAndValues, lengthFactor, type Problem, queryRows, type Result, scaleOf, shapeOf } from './problem.js';
import { turned } from './turned.js';

/** Rows that belong to no sequence or see no key are 0, their lse is -Infinity (or the sink's logit). */
export function attention(given: Problem): Result {
  const problem = turned(given);
  const { batch, heads, queries, headDim, valueDim } = shapeOf(problem);
  const q = toNumbers(problem.query);
  const { k, v } = keysAndValues(problem);
  const scale = scaleOf(problem);
  const softcap = problem.softcap ?? 0;

  const out = new Float64Array(batch * heads * queries * valueDim);
  const lse = new Float64Array(batch * heads * queries).fill(-Infinity);
  const keysSeen = new Int32Array(lse.length);

  for (const { row, query, tokens, factors, added, sink, keysInUse } of queryRows(problem)) {
    const count = tokens.length;
    const weights = new Float64Array(count);
    let max = sink ?? -Infinity;
    const ofQuery = problem.cosine ? lengthFactor(q, query, headDim) : 1;
    for (let n = 0; n < count; n++) {
      const key = tokens[n] * headDim;
      let score = 0;
      for (let d = 0; d < headDim; d++) score += q[query * headDim + d] * k[key + d];
      if (problem.cosine) score *= ofQuery * lengthFactor(k, tokens[n], headDim);
      score *= scale;
      if (softcap > 0) score = softcap * Math.tanh(score / softcap);
      weights[n] = score * factors[n] + added[n];
      max = Math.max(max, weights[n]);
    }

    keysSeen[row] = count;
    if (problem.activation) {
      for (let n = 0; n < count; n++) {
        const value = tokens[n] * valueDim;
        const weight = pointwise(problem, weights[n], Math.max(1, keysInUse));
        for (let d = 0; d < valueDim; d++) out[row * valueDim + d] += weight * v[value + d];
      }
      continue;
    }

    let sum = sink === undefined ? 0 : Math.exp(sink - max);
    for (let n = 0; n < count; n++) {
      weights[n] = Math.exp(weights[n] - max);
      sum += weights[n];
    }
    for (let n = 0; n < count; n++) {
      const value = tokens[n] * valueDim;
      const weight = weights[n] / sum;
      for (let d = 0; d < valueDim; d++) out[row * valueDim + d] += weight * v[value + d];
    }
    if (count > 0 || sink !== undefined) lse[row] = max + Math.log(sum);
  }
  applyGate(problem.gate, { out, lse });
  return { out, lse, keysSeen };
}

/** The weight of a score by itself: no row has a maximum or a sum. */
function pointwise({ activation, activationBias = 0 }: Problem, score: number, keys: number): number {
  if (activation === 'relu') return Math.max(0, score) / keys;
  return 1 / (1 + Math.exp(-(score + (activationBias === 'neg-log-keys' ? -Math.log(keys) : activationBias))));
}
