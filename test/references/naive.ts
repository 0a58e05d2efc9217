// Attention in float32, as it is written without a library: the yardstick of rounding error.
// Reader: whoever sets the error bound (conformance/judge.ts). Every operation rounds to float32; inputs are as stored,
// the output is left in float32 so that its distance to float64 is arithmetic alone.

import { applyGate } from './gate.js';
import { type FloatType, round } from './half.js';
import { toNumbers } from './operand.js';
import { keysAndValues, type Problem, queryRows, type Result, scaleOf, shapeOf } from './problem.js';
import { turned } from './turned.js';

const f = Math.fround;

/** @param precision 'storage' rounds probabilities to the type of the tensors, in which a matrix product takes them */
export function naiveAttention(given: Problem, precision: 'float32' | 'storage' = 'float32'): Result {
  const problem = turned(given, round);
  const type = precision === 'storage' ? (problem.value.type as FloatType) : 'float32';
  const { batch, heads, queries, headDim, valueDim } = shapeOf(problem);
  const softcap = f(problem.softcap ?? 0);
  const scale = f(scaleOf(problem));
  const q = Float32Array.from(toNumbers(problem.query), (x) => x * scale);
  const numbers = keysAndValues(problem);
  const k = Float32Array.from(numbers.k);
  const ofLengths = (rows: Float32Array) => (problem.cosine ? lengthFactors(rows, headDim) : rows);
  const [ofQueries, ofKeys] = [ofLengths(Float32Array.from(toNumbers(problem.query))), ofLengths(k)];
  const v = Float32Array.from(numbers.v);

  const out = new Float64Array(batch * heads * queries * valueDim);
  const lse = new Float64Array(batch * heads * queries).fill(-Infinity);
  const keysSeen = new Int32Array(lse.length);
  const accumulator = new Float32Array(valueDim);

  for (const { row, query, tokens, factors, added, sink: logit, keysInUse } of queryRows(problem)) {
    const count = tokens.length;
    const weights = new Float32Array(count);
    const sink = logit === undefined ? undefined : f(logit);
    let max = sink ?? -Infinity;
    for (let n = 0; n < count; n++) {
      const key = tokens[n] * headDim;
      let score = 0;
      for (let d = 0; d < headDim; d++) score = f(score + f(q[query * headDim + d] * k[key + d]));
      if (problem.cosine) score = f(f(score * ofQueries[query]) * ofKeys[tokens[n]]);
      if (softcap > 0) score = f(softcap * f(Math.tanh(f(score / softcap))));
      weights[n] = f(f(score * f(factors[n])) + f(added[n]));
      max = Math.max(max, weights[n]);
    }

    keysSeen[row] = count;
    if (problem.activation) {
      accumulator.fill(0);
      for (let n = 0; n < count; n++) {
        const value = tokens[n] * valueDim;
        const weight = round(type, pointwise(problem, weights[n], Math.max(1, keysInUse)));
        for (let d = 0; d < valueDim; d++) accumulator[d] = f(accumulator[d] + f(weight * v[value + d]));
      }
      out.set(accumulator, row * valueDim);
      continue;
    }

    let sum = sink === undefined ? 0 : f(Math.exp(f(sink - max)));
    for (let n = 0; n < count; n++) {
      weights[n] = Math.exp(f(weights[n] - max));
      sum = f(sum + weights[n]);
      if (type !== 'float32') weights[n] = round(type, weights[n]);
    }
    accumulator.fill(0);
    for (let n = 0; n < count; n++) {
      const value = tokens[n] * valueDim;
      const weight = f(weights[n] / sum);
      for (let d = 0; d < valueDim; d++) accumulator[d] = f(accumulator[d] + f(weight * v[value + d]));
    }
    out.set(accumulator, row * valueDim);
    if (count > 0 || sink !== undefined) lse[row] = f(max + f(Math.log(sum)));
  }
  applyGate(problem.gate, { out, lse }, (a, b) => f(a * f(b)));
  return { out, lse, keysSeen };
}

/** What divides each row by its length. */
function lengthFactors(rows: Float32Array, dim: number): Float32Array {
  return Float32Array.from({ length: rows.length / dim }, (_, i) => {
    let squares = 0;
    for (let d = 0; d < dim; d++) squares = f(squares + f(rows[i * dim + d] * rows[i * dim + d]));
    return f(1 / Math.max(f(Math.sqrt(squares)), 1e-12));
  });
}

/** The weight of a score by itself. */
function pointwise({ activation, activationBias = 0 }: Problem, score: number, keys: number): number {
  if (activation === 'relu') return f(Math.max(0, score) / keys);
  const bias = activationBias === 'neg-log-keys' ? f(-Math.log(keys)) : f(activationBias);
  return f(1 / f(1 + f(Math.exp(-f(score + bias)))));
}
