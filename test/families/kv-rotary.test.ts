// Caches that turn keys and queries: what rotate() before append() and attention() would give, by positions of the text or by
// rank. Reader: someone who changes lib/caches/kv-rotary.ts.

import { expect, it } from 'vitest';
import { attentionSync, KvCache, KvPool, type RotaryOptions, rotateSync, type Tensor } from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { range } from '../references/operand.js';
import { turnedRow } from '../references/rotary.js';
import { expectClose } from '../support/golden.js';
import { isSame, tensor } from '../support/tensors.js';

const shape = { kvHeads: 2, headDim: 16, valueDim: 8 };
const queryHeads = 4;

const rotations: [string, RotaryOptions][] = [
  ['halves', {}],
  ['pairs of a part of the dims', { theta: 500, dims: 12, interleaved: true }],
  ['YaRN, whose numbers grow', { scaling: { kind: 'yarn', factor: 4, original: 64 } }],
];

/** Attention of one query in float64 over rows of keys and values. */
function attended(
  query: readonly number[],
  keys: readonly (readonly number[])[],
  values: readonly ArrayLike<number>[],
) {
  const scores = keys.map((key) => key.reduce((sum, x, d) => sum + x * query[d], 0) / Math.sqrt(query.length));
  const most = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  return Array.from(values[0], (_, d) => weights.reduce((total, w, t) => total + w * values[t][d], 0) / sum);
}

/** One head of one token of [tokens, heads, dim]. */
function rowOf({ data, dims: [, heads, dim] }: Tensor<'float32'>, token: number, head: number): number[] {
  const begin = (token * heads + head) * dim;
  return Array.from(data.subarray(begin, begin + dim));
}

onEveryBackend(({ device }) => {
  it.each(rotations)('a cache gives what rotate() before it gives: %s', (_, rotary) => {
    for (const layout of ['bnhd', 'bhnd'] as const) {
      const tokens = 300;
      const of = (heads: number, dim: number) => {
        const numbers = tensor(2, tokens, heads, dim);
        return layout === 'bnhd' ? numbers : numbers.transpose([0, 2, 1, 3]);
      };
      const [q, k, v] = [of(queryHeads, 16), of(2, 16), of(2, 8)];
      const axis = layout === 'bnhd' ? 1 : 2;
      const cache = new KvCache({ ...shape, rotary, layout, device });
      for (const [begin, end] of [
        [0, 257],
        [257, 258],
        [258, 300],
      ]) {
        const part = (x: Tensor) => x.slice(axis, begin, end);
        cache.append(0, part(k), part(v));
        const { out } = cache.attentionSync(0, part(q));
        const before = { ...rotary, layout, device: 'cpu' } as const;
        const whole = attentionSync(
          rotateSync(part(q), { ...before, positions: range(begin, end) }),
          rotateSync(k.slice(axis, 0, end), { ...before, positions: range(0, end) }),
          v.slice(axis, 0, end),
          { causal: true, layout, device },
        );
        if (device === 'cpu') expect(isSame(out.data, whole.out.data), `${layout} ${begin}`).toBe(true);
        else expectClose(out.data as Float32Array, whole.out.data as Float32Array, 5);
      }
    }
  });

  it('a pool counts the positions of each sequence, on pages that they share', () => {
    const rotary = { theta: 300, dims: 12, interleaved: true };
    const pool = new KvPool({ pages: 20, pageSize: 8, ...shape, rotary, device });
    const of = (tokens: number, heads: number, dim: number) => tensor(tokens, heads, dim) as Tensor<'float32'>;
    const [k, v] = [of(40, 2, 16), of(40, 2, 8)];
    const first = pool.sequence();
    first.append(0, k.slice(0, 0, 11), v.slice(0, 0, 11));
    const second = first.fork();
    second.append(0, k.slice(0, 20, 23), v.slice(0, 20, 23));
    first.append(0, k.slice(0, 11, 12), v.slice(0, 11, 12));
    const held = [range(0, 12), [...range(0, 11), ...range(20, 23)], []];
    const queryLengths = [1, 3, 0];
    const q = of(4, queryHeads, 16);
    const { out } = pool.attentionSync(0, q, [first, second, pool.sequence()], { queryLengths });
    let row = 0;
    for (const [s, tokens] of held.entries()) {
      for (let position = tokens.length - queryLengths[s]; position < tokens.length; position++, row++) {
        const seen = tokens.slice(0, position + 1);
        for (let head = 0; head < queryHeads; head++) {
          const query = turnedRow(rowOf(q, row, head), position, rotary);
          const keys = seen.map((token, at) => turnedRow(rowOf(k, token, head >> 1), at, rotary));
          const values = seen.map((token) => rowOf(v, token, head >> 1));
          expectClose(rowOf(out as Tensor<'float32'>, row, head), attended(query, keys, values), 5);
        }
      }
    }
  });

  it.each(rotations.flatMap(([name, rotary]) => [5, 0].map((recentTokens) => [name, recentTokens, rotary] as const)))(
    'by rank: as if the tokens that are let go of had never been: %s, %i recent ones',
    (_, recentTokens, rotary) => {
      const horizon = { recentTokens, sinkTokens: 3 };
      const cache = new KvCache({ ...shape, rotary, ...horizon, positions: 'cache', device });
      const [q, k, v] = [tensor(1, 20, queryHeads, 16), tensor(1, 20, 2, 16), tensor(1, 20, 2, 8)];
      for (let t = 0; t < 20; t++) {
        const row = (x: Tensor) => x.slice(1, t, t + 1);
        cache.append(0, row(k), row(v));
        const kept = range(0, t + 1).filter((token) => token < 3 || token > t - recentTokens);
        const fresh = new KvCache({ ...shape, rotary, device });
        for (const token of kept) fresh.append(0, k.slice(1, token, token + 1), v.slice(1, token, token + 1));
        const [got, want] = [cache, fresh].map((one) => one.attentionSync(0, row(q)).out.data as Float32Array);
        expectClose(got, want, 5);
      }
    },
  );

  it('heads and dim may be one axis, by rank too', () => {
    const horizon = { recentTokens: [4, 6], sinkTokens: [2, 0], positions: 'cache' as const };
    for (const options of [{}, { recentTokens: 5, sinkTokens: 2, positions: 'cache' as const }, horizon]) {
      const cache = new KvCache({ ...shape, rotary: {}, ...options, device });
      cache.append(0, tensor(1, 30, 2, 16), tensor(1, 30, 2, 8));
      const q = tensor(1, 1, queryHeads, 16);
      const { out } = cache.attentionSync(0, q);
      const merged = cache.attentionSync(0, q.reshape([1, 1, queryHeads * 16]), { queryHeads });
      expect(merged.out.dims).toEqual([1, 1, queryHeads * 8]);
      expect(isSame(merged.out.data, out.data)).toBe(true);
    }
  });

  it('queries are turned before an asynchronous call returns, and forks go on', async () => {
    const cache = new KvCache({ ...shape, rotary: {}, device });
    const [q, k, v] = [tensor(1, 2, queryHeads, 16), tensor(1, 200, 2, 16), tensor(1, 200, 2, 8)];
    cache.append(0, k, v);
    const { out: expected } = cache.attentionSync(0, q);
    const flight = cache.attention(0, q, { copyInputs: false });
    q.data.fill(0);
    const fork = cache.fork();
    const [many, more] = [tensor(1, 3000, 2, 16), tensor(1, 3000, 2, 8)];
    fork.append(0, many, more);
    expect(isSame((await flight).out.data, expected.data)).toBe(true);
  });
});
