// Attention over a cache, called again and again with few differences: what a call keeps for the next one shows in no result.
// Reader: someone who changes lib/caches/kv-repeated.ts.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attention, KvCache, type KvCacheOptions, KvPool, Tensor } from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAllAsync } from '../support/property.js';
import { operands, tensor } from '../support/tensors.js';

const [heads, kvHeads, headDim] = [4, 2, 8];

interface Options {
  readonly causal?: boolean;
  readonly scale?: number;
  readonly softcap?: number;
  readonly queryHeads?: number;
}

/** What a cache lets go of and turns: recent tokens per KV head, and theta. */
interface Kind {
  readonly recentTokens?: readonly number[];
  readonly sinkTokens?: number;
  readonly theta?: number;
}

/** A row of heads turned to a position: pairs (i, i + headDim / 2) of each head. */
function turned(row: readonly number[], position: number, theta: number | undefined): number[] {
  const half = headDim / 2;
  return row.map((x, at) => {
    const [d, pair] = [at % headDim, at % half];
    const angle = theta === undefined ? 0 : position * theta ** (-pair / half);
    const other = row[d < half ? at + half : at - half];
    return x * Math.cos(angle) + (d < half ? -other : other) * Math.sin(angle);
  });
}

/** Attention of the last queries in float64, over rows of [kvHeads][headDim]; heads of q are [queries][heads][headDim]. */
function expected(
  asked: number[],
  rows: readonly number[][],
  v: readonly number[][],
  options: Options,
  { recentTokens, sinkTokens = 0, theta }: Kind = {},
): number[] {
  const { causal = true, scale = 1 / Math.sqrt(headDim), softcap = 0 } = options;
  const width = heads * headDim;
  const first = rows.length - asked.length / width;
  const q = asked.flatMap((_, at) =>
    at % width === 0 ? turned(asked.slice(at, at + width), first + at / width, theta) : [],
  );
  const k = rows.map((row, token) => turned(row, token, theta));
  const queries = q.length / (heads * headDim);
  const out: number[] = [];
  for (let i = 0; i < queries; i++) {
    for (let h = 0; h < heads; h++) {
      const [query, kv] = [(i * heads + h) * headDim, Math.floor(h / (heads / kvHeads)) * headDim];
      const seen = causal ? k.length - queries + i + 1 : k.length;
      const recent = recentTokens?.[Math.floor(h / (heads / kvHeads))] ?? Number.POSITIVE_INFINITY;
      const scores = k.slice(0, seen).map((key, token) => {
        if (token >= sinkTokens && token < seen - recent) return Number.NEGATIVE_INFINITY;
        let dot = 0;
        for (let d = 0; d < headDim; d++) dot += q[query + d] * key[kv + d];
        return softcap > 0 ? softcap * Math.tanh((dot * scale) / softcap) : dot * scale;
      });
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const sum = weights.reduce((a, b) => a + b, 0);
      for (let d = 0; d < headDim; d++) {
        out.push(weights.reduce((all, weight, t) => all + (weight / sum) * v[t][kv + d], 0));
      }
    }
  }
  return out;
}

/** Queries of these numbers: dense, behind others in their memory, or with gaps between their rows. */
function queriesOf(numbers: number[], form: 'dense' | 'offset' | 'gaps') {
  const dims = [1, numbers.length / (heads * headDim), heads, headDim];
  if (form === 'dense') return new Tensor('float32', Float32Array.from(numbers), dims);
  if (form === 'offset') {
    const data = Float32Array.from([Number.NaN, Number.NaN, ...numbers, Number.NaN]);
    return { type: 'float32', data, dims, offset: 2 };
  }
  const data = new Float32Array(2 * numbers.length).fill(Number.NaN);
  for (const [i, x] of numbers.entries()) data[2 * i] = x;
  return new Tensor('float32', data, dims, { strides: [2 * numbers.length, 2 * heads * headDim, 2 * headDim, 2] });
}

/** Memory for a result, from its beginning or not. */
const outOf = (dims: readonly number[], place: 'dense' | 'offset') => {
  const size = dims.reduce((a, length) => a * length, 1);
  const offset = place === 'dense' ? 0 : 3;
  return { type: 'float32' as const, data: new Float32Array(size + 2 * offset), dims: [...dims], offset };
};

const step = fc.record({
  appended: fc.constantFrom(1, 1, 1, 2, 9),
  truncated: fc.constantFrom(0, 0, 0, 0, 1, 7),
  queries: fc.constantFrom(1, 1, 1, 2),
  form: fc.constantFrom('dense', 'dense', 'dense', 'offset', 'gaps' as const),
  options: fc.constantFrom<Options>(
    {},
    {},
    {},
    { causal: false },
    { scale: 0.7 },
    { softcap: 2 },
    { queryHeads: heads },
  ),
  out: fc.constantFrom('none', 'none', 'dense', 'offset' as const),
  isSync: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1000 }),
});

const poolStep = fc.record({
  chosen: fc.constantFrom([0], [0, 1], [0, 1], [1, 0], [2, 0, 1]),
  prompt: fc.constantFrom(1, 1, 1, 5),
  isSync: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1000 }),
});

const random = (count: number, seed: number) =>
  Array.from({ length: count }, (_, i) => Math.fround(Math.sin(seed * 12.9898 + i * 78.233)));

const all = Number.POSITIVE_INFINITY;
const kinds: [string, Partial<KvCacheOptions>, Kind][] = [
  ['all tokens', {}, {}],
  ['a ring', { recentTokens: 40, sinkTokens: 3 }, { recentTokens: [40, 40], sinkTokens: 3 }],
  ['rings of some heads', { recentTokens: [20, all] }, { recentTokens: [20, all] }],
  ['turned keys', { rotary: { theta: 100 } }, { theta: 100 }],
  ['a ring of turned keys', { recentTokens: 40, rotary: { theta: 100 } }, { recentTokens: [40, 40], theta: 100 }],
];

describe('attention over a cache, call after call', () => {
  it.each(kinds)(
    'of %s is that of its own queries, options and tokens, across pages and after truncate()',
    (_, made, kind) =>
      expectForAllAsync(fc.array(step, { minLength: 2, maxLength: 12 }), 40, async (steps) => {
        const cache = new KvCache({ kvHeads, headDim, ...made });
        const [k, v]: number[][][] = [[], []];
        const append = (count: number, seed: number) => {
          const [keys, values] = [1, 2].map((n) => random(count * kvHeads * headDim, seed * n));
          const rows = (numbers: number[]) =>
            new Tensor('float32', Float32Array.from(numbers), [1, count, kvHeads, headDim]);
          cache.append(0, rows(keys), rows(values));
          for (let t = 0; t < count; t++) {
            k.push(keys.slice(t * kvHeads * headDim, (t + 1) * kvHeads * headDim));
            v.push(values.slice(t * kvHeads * headDim, (t + 1) * kvHeads * headDim));
          }
        };
        append(250, 1); // a page has 256
        for (const { appended, truncated, form, out: place, isSync, seed, ...drawn } of steps) {
          append(appended, seed);
          // A ring has let go of what earlier queries would see, and is always causal.
          const isRing = kind.recentTokens !== undefined;
          const queries = isRing ? Math.min(drawn.queries, appended) : drawn.queries;
          const options = isRing && drawn.options.causal === false ? {} : drawn.options;
          const length = k.length - (isRing ? 0 : truncated);
          cache.truncate(length);
          k.length = length;
          v.length = length;
          const numbers = random(queries * heads * headDim, seed + 7);
          const whole = queriesOf(numbers, form);
          const q = options.queryHeads
            ? new Tensor('float32', Float32Array.from(numbers), [1, queries, heads * headDim])
            : whole;
          const own = place === 'none' ? undefined : outOf(q.dims, place);
          const told = own ? { ...options, out: own } : options;
          const { out } = isSync ? cache.attentionSync(0, q, told) : await cache.attention(0, q, told);
          expect(out.dims).toEqual(q.dims);
          if (own) expect(out).toBe(own);
          const wanted = expected(numbers, k, v, options, kind);
          for (const [i, x] of wanted.entries())
            expect(Math.abs(out.data[(own?.offset ?? 0) + i] - x)).toBeLessThan(2e-6);
        }
      }),
  );

  it.each([[undefined], [100]])('of a pool is that of its sequences of now (theta %s)', (theta) =>
    expectForAllAsync(fc.array(poolStep, { minLength: 2, maxLength: 12 }), 40, async (steps) => {
      const rotary = theta === undefined ? undefined : { theta };
      const pool = new KvPool({ pages: 40, pageSize: 16, kvHeads, headDim, rotary });
      const texts = Array.from({ length: 3 }, () => ({
        sequence: pool.sequence(),
        k: [] as number[][],
        v: [] as number[][],
      }));
      for (const { chosen, prompt, isSync, seed } of steps) {
        const asked = chosen.map((i) => texts[i]);
        for (const [i, { sequence, k, v }] of asked.entries()) {
          const [keys, values] = [1, 2].map((n) => random(prompt * kvHeads * headDim, seed * n + i));
          const rows = (numbers: number[]) =>
            new Tensor('float32', Float32Array.from(numbers), [prompt, kvHeads, headDim]);
          sequence.append(0, rows(keys), rows(values));
          const rowOf = (numbers: number[], t: number) =>
            numbers.slice(t * kvHeads * headDim, (t + 1) * kvHeads * headDim);
          for (let t = 0; t < prompt; t++) {
            k.push(rowOf(keys, t));
            v.push(rowOf(values, t));
          }
        }
        const queries = asked.map((_, i) => random(heads * headDim, seed + 7 * i));
        const q = new Tensor('float32', Float32Array.from(queries.flat()), [asked.length, heads, headDim]);
        const sequences = asked.map(({ sequence }) => sequence);
        const { out } = isSync ? pool.attentionSync(0, q, sequences) : await pool.attention(0, q, sequences);
        const wanted = asked.flatMap(({ k, v }, i) => expected(queries[i], k, v, {}, { theta }));
        for (const [i, x] of wanted.entries()) expect(Math.abs(out.data[i] - x)).toBeLessThan(2e-6);
      }
    }),
  );

  it('gives each call a result of its own', () => {
    const cache = new KvCache({ kvHeads, headDim });
    const results = [1, 2, 3].map(() => {
      cache.append(0, tensor(1, 1, kvHeads, headDim), tensor(1, 1, kvHeads, headDim));
      return cache.attentionSync(0, tensor(1, 1, heads, headDim)).out.data;
    });
    expect(new Set(results.map(({ buffer }) => buffer)).size).toBe(3);
  });

  it('refuses after a good call what it refused before one', async () => {
    const cache = new KvCache({ kvHeads, headDim });
    for (let i = 0; i < 3; i++) {
      cache.append(0, tensor(1, 1, kvHeads, headDim), tensor(1, 1, kvHeads, headDim));
      cache.attentionSync(0, tensor(1, 1, heads, headDim));
    }
    const q = tensor(1, 1, heads, headDim);
    const refused = (call: () => unknown) => thrownBy(call);
    expectError(
      refused(() => cache.attentionSync(0, q, { scal: 1 } as never)),
      {
        code: 'ERR_TILEWISE_UNKNOWN_OPTION',
        says: ['`scale`'],
      },
    );
    expectError(
      refused(() => cache.attentionSync(0, q, { scale: Number.NaN })),
      {
        code: 'ERR_TILEWISE_INVALID_OPTION',
      },
    );
    expectError(
      refused(() => cache.attentionSync(0, q, null as never)),
      { code: 'ERR_TILEWISE_INVALID_OPTION' },
    );
    expectError(
      refused(() => cache.attentionSync(0, tensor(1, 1, heads, headDim - 1))),
      {
        code: 'ERR_TILEWISE_SHAPE_MISMATCH',
      },
    );
    expectError(
      refused(() => cache.attentionSync(0, tensor(2, 1, heads, headDim))),
      {
        code: 'ERR_TILEWISE_SHAPE_MISMATCH',
      },
    );
    const gone = tensor(1, 1, heads, headDim);
    structuredClone(gone.data.buffer, { transfer: [gone.data.buffer as ArrayBuffer] });
    expectError(
      refused(() => cache.attentionSync(0, gone)),
      { code: 'ERR_TILEWISE_INVALID_TENSOR' },
    );
    const two = tensor(1, 2, heads, headDim);
    cache.attentionSync(0, two);
    cache.truncate(1);
    expectError(
      refused(() => cache.attentionSync(0, two)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH' },
    );
    // Queries that a call in flight is writing.
    cache.attentionSync(0, q);
    cache.attentionSync(0, q, { out: tensor(1, 1, heads, headDim) });
    expectError(
      refused(() => cache.attentionSync(0, q, { out: q })),
      { code: 'ERR_TILEWISE_OVERLAP' },
    );
    cache.attentionSync(0, q);
    const long = operands(2048, 8, 64);
    const out = new Tensor('float32', new Float32Array(long.q.size), long.q.dims);
    const flight = attention(long.q, long.k, long.v, { out });
    const written = { type: 'float32', data: out.data.subarray(0, heads * headDim), dims: [1, 1, heads, headDim] };
    expectError(
      refused(() => cache.attentionSync(0, written)),
      { code: 'ERR_TILEWISE_OVERLAP', says: ['`q`'] },
    );
    await flight;
    cache.dispose();
    expectError(
      refused(() => cache.attentionSync(0, q)),
      { code: 'ERR_TILEWISE_DISPOSED' },
    );
  });
});
