// The float64 reference against results that can be worked out by hand: the meaning of every option, one law each.
// Reader: someone who wants to know what an option means, or who doubts the reference.

import { expect, it } from 'vitest';
import { operandOf } from '../conformance/memory.js';
import { attention } from './attention.js';
import { naiveAttention } from './naive.js';
import { type Problem, seenKeys } from './problem.js';

/** One head; all scores 0 and values 1, 2, 4, 8, ...: the output names the keys that were seen. */
function uniform(queries: number, keys: number, options: Partial<Problem> = {}): Problem {
  const powers = Array.from({ length: keys }, (_, j) => 2 ** j);
  return {
    query: operandOf('float32', [1, 1, queries, 1], new Array(queries).fill(0)),
    key: operandOf('float32', [1, 1, keys, 1], new Array(keys).fill(0)),
    value: operandOf('float32', [1, 1, keys, 1], powers),
    ...options,
  };
}

/** The keys each query sees, read off the output of uniform(). */
function seen(problem: Problem): number[][] {
  const { out, lse } = attention(problem);
  return Array.from(out, (x, i) => {
    const sum = Math.round(x * (lse[i] === -Infinity ? 0 : Math.exp(lse[i])));
    return [...sum.toString(2)].reverse().flatMap((digit, j) => (digit === '1' ? [j] : []));
  });
}

it('with equal scores the output is the mean of the values and lse is ln(keys)', () => {
  const { out, lse } = attention(uniform(1, 4));
  expect(out[0]).toBe((1 + 2 + 4 + 8) / 4);
  expect(lse[0]).toBeCloseTo(Math.log(4), 15);
});

it('weights are exp(scale * q.k) over their sum', () => {
  const problem: Problem = {
    query: operandOf('float32', [1, 1, 1, 2], [1, 2]),
    key: operandOf('float32', [1, 1, 2, 2], [3, 0, 0, 1]),
    value: operandOf('float32', [1, 1, 2, 1], [1, 0]),
  };
  const weight = (scale: number): number => 1 / (1 + Math.exp(scale * (2 - 3)));
  expect(attention(problem).out[0]).toBeCloseTo(weight(1 / Math.sqrt(2)), 15);
  expect(attention({ ...problem, scale: 0.25 }).out[0]).toBeCloseTo(weight(0.25), 15);
  expect(attention({ ...problem, scale: 0.25 }).lse[0]).toBeCloseTo(Math.log(Math.exp(0.75) + Math.exp(0.5)), 15);
});

it('causal, bottom-right: the last query sees the last key', () => {
  expect(seen(uniform(2, 4, { causal: true }))).toEqual([
    [0, 1, 2],
    [0, 1, 2, 3],
  ]);
});

it('causal, top-left: the first query sees the first key only', () => {
  expect(seen(uniform(2, 4, { causal: true, align: 'top-left' }))).toEqual([[0], [0, 1]]);
});

it('an explicit offset moves every query', () => {
  expect(seen(uniform(2, 4, { causal: true, align: 1 }))).toEqual([
    [0, 1],
    [0, 1, 2],
  ]);
  expect(seen(uniform(2, 4, { causal: true, align: -1 }))).toEqual([[], [0]]);
});

it('more queries than keys, causal, bottom-right: the first queries see nothing', () => {
  expect(seen(uniform(4, 2, { causal: true }))).toEqual([[], [], [0], [0, 1]]);
});

it('window bounds count tokens on either side, the position itself is always inside', () => {
  expect(seen(uniform(4, 4, { left: 1, right: 0 }))).toEqual([[0], [0, 1], [1, 2], [2, 3]]);
  expect(seen(uniform(3, 3, { left: 0, right: 1 }))).toEqual([[0, 1], [1, 2], [2]]);
  expect(seen(uniform(3, 3, { left: 0, right: 0 }))).toEqual([[0], [1], [2]]);
});

it('causal closes an open or wider right side', () => {
  expect(seen(uniform(3, 3, { left: 1, right: 5, causal: true }))).toEqual([[0], [0, 1], [1, 2]]);
});

it('sink tokens stay visible behind the window, but never before their time', () => {
  expect(seen(uniform(4, 4, { left: 0, causal: true, sinkTokens: 2 }))).toEqual([[0], [0, 1], [0, 1, 2], [0, 1, 3]]);
});

it('a mask of 0 and a bias of -Infinity hide', () => {
  expect(seen(uniform(2, 3, { mask: operandOf('bool', [2, 3], [1, 0, 1, 0, 0, 1]) }))).toEqual([[0, 2], [2]]);
  expect(seen(uniform(1, 3, { bias: operandOf('float32', [3], [0, -Infinity, 0]) }))).toEqual([[0, 2]]);
});

it('a bias adds to the scores, after softcap', () => {
  const problem = uniform(1, 2, { bias: operandOf('float32', [2], [Math.fround(0.7), 0]) });
  expect(attention(problem).lse[0]).toBeCloseTo(Math.log(Math.exp(0.7) + 1), 7);
  expect(attention({ ...problem, softcap: 0.1 }).lse[0]).toBeCloseTo(Math.log(Math.exp(0.7) + 1), 7);
});

it('softcap c turns a score s into c tanh(s / c)', () => {
  const problem: Problem = {
    query: operandOf('float32', [1, 1, 1, 1], [3]),
    key: operandOf('float32', [1, 1, 1, 1], [4]),
    value: operandOf('float32', [1, 1, 1, 1], [1]),
    softcap: 5,
  };
  expect(attention(problem).lse[0]).toBeCloseTo(5 * Math.tanh(12 / 5), 14);
});

it('ALiBi takes slope times the distance to the position off each score', () => {
  const problem = uniform(2, 3, { alibiSlopes: operandOf('float32', [1], [0.5]) });
  const lse = (...distances: number[]): number => Math.log(distances.reduce((sum, d) => sum + Math.exp(-0.5 * d), 0));
  expect(attention(problem).lse[0]).toBeCloseTo(lse(1, 0, 1), 14);
  expect(attention(problem).lse[1]).toBeCloseTo(lse(2, 1, 0), 14);
});

it('a sink joins the denominator only; alone it leaves output 0 and lse = its logit', () => {
  const problem = uniform(2, 1, { causal: true, sinks: operandOf('float32', [1], [1]) });
  const { out, lse } = attention(problem);
  expect([out[0], lse[0]]).toEqual([0, 1]);
  expect(out[1]).toBeCloseTo(1 / (1 + Math.E), 15);
  expect(lse[1]).toBeCloseTo(Math.log(1 + Math.E), 15);
});

it('a row that sees no key has output 0 and lse -Infinity', () => {
  const { out, lse } = attention(uniform(2, 2, { mask: operandOf('bool', [2, 1], [0, 1]) }));
  expect([out[0], lse[0]]).toEqual([0, -Infinity]);
  expect(out[1]).toBe(1.5);
});

it('keyLengths shortens the keys and moves the bottom-right corner with them', () => {
  expect(seen(uniform(2, 4, { causal: true, keyLengths: [3] }))).toEqual([
    [0, 1],
    [0, 1, 2],
  ]);
});

it('packed sequences see their own keys, each with its own corner', () => {
  const problem = uniform(3, 4, { causal: true, cuSeqlensQ: [0, 1, 3], cuSeqlensK: [0, 2, 4] });
  expect(seen(problem)).toEqual([[0, 1], [2], [2, 3]]);
  expect(seenKeys(problem, 0, 0, 1)).toEqual([2]);
});

it('the naive float32 implementation says the same to float32 precision', () => {
  const problem = uniform(5, 7, { causal: true, left: 3, sinkTokens: 1, sinks: operandOf('float32', [1], [0.3]) });
  const [exact, naive] = [attention(problem), naiveAttention(problem)];
  for (let i = 0; i < exact.out.length; i++) expect(naive.out[i]).toBeCloseTo(exact.out[i], 4);
  for (let i = 0; i < exact.lse.length; i++) expect(naive.lse[i]).toBeCloseTo(exact.lse[i], 6);
});
