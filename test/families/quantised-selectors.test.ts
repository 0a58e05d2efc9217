// Selectors over caches and pools with a format: bounds of pages are those of the keys that were appended, and lists of pages are read
// where tokens are codes. Reader: someone who changes lib/caches/lasting-summaries.ts.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attentionStatsSync,
  attentionSync,
  deltaPageScoresSync,
  type KeyPages,
  KvCache,
  type KvFormat,
  KvPool,
  questPageScores,
  questPageScoresSync,
  snapKVSync,
  Tensor,
} from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';
import { expectClose, formats } from '../support/quantised-kv.js';
import { tensor } from '../support/tensors.js';

const [kvHeads, headDim, heads] = [2, 6, 4];
const query = tensor(1, 1, heads, headDim);

/** Expects the choice over a cache to be that over the keys that were appended to it. */
function expectSame(pages: KeyPages, keys: Tensor, size: number): void {
  const options = { pages: 3, lastPages: 0 };
  const got = questPageScoresSync(query, pages, options);
  const want = questPageScoresSync(query, keys, { ...options, pageSize: size });
  expect(got.scores.dims).toEqual(want.scores.dims);
  expectClose(got.scores.data, [...want.scores.data], 'scores', 1e-5);
  expect(got.lists).toEqual(want.lists);
}

const small: readonly [string, KvFormat][] = [
  ['groups', { keyBits: 4, valueBits: 8, group: 2, residual: 4 }],
  [
    'tiers',
    {
      tiers: [
        { bits: 8, tokens: 8 },
        { bits: 2, tokens: Number.POSITIVE_INFINITY },
      ],
      residual: 4,
    },
  ],
  ['int8-token', 'int8-token'],
];

const steps = fc.record({
  size: fc.integer({ min: 1, max: 9 }),
  format: fc.constantFrom(...small.map(([, format]) => format)),
  steps: fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 20 }) }),
      fc.record({ kind: fc.constant('truncate' as const), back: fc.integer({ min: 0, max: 9 }) }),
      fc.record({ kind: fc.constant('fork' as const) }),
    ),
    { minLength: 1, maxLength: 14 },
  ),
});

describe('bounds of pages', () => {
  it('follow append, truncate and fork of a cache whose older keys are codes', () => {
    expectForAll(steps, 60, (d) => {
      let cache = new KvCache({ kvHeads, headDim, pageSize: d.size, pageSummaries: true, format: d.format });
      let rows: Float32Array[] = [];
      const check = (one: KvCache, kept: Float32Array[]) => {
        if (kept.length === 0) return;
        const keys = new Tensor('float32', Float32Array.from(kept.flatMap((row) => [...row])), [
          1,
          kept.length,
          kvHeads,
          headDim,
        ]);
        expectSame(one.keyPages(0), keys, d.size);
      };
      const others: [KvCache, Float32Array[]][] = [];
      for (const step of d.steps) {
        if (step.kind === 'append') {
          const x = tensor(1, step.count, kvHeads, headDim);
          cache.append(0, x, x);
          for (let t = 0; t < step.count; t++) rows.push(x.slice(1, t, t + 1).contiguous().data as Float32Array);
        } else if (step.kind === 'truncate') {
          const length = Math.max(0, cache.length - step.back);
          const error = thrownBy(() => cache.truncate(length));
          if (error) expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['at least'] });
          else rows = rows.slice(0, length);
        } else {
          others.push([cache, rows]);
          cache = cache.fork();
          rows = [...rows];
        }
        check(cache, rows);
      }
      for (const [other, kept] of others) check(other, kept);
      const before = cache.bytes;
      cache.reset();
      expect(cache.bytes).toBeLessThanOrEqual(before);
      const x = tensor(1, 30, kvHeads, headDim);
      cache.append(0, x, x);
      expectSame(cache.keyPages(0), x, d.size);
    });
  });

  it('are those of each sequence of a pool', async () => {
    for (const [, format] of small) {
      const pool = new KvPool({ pages: 60, kvHeads, headDim, format, pageSummaries: true });
      const lengths = [170, 3, 40];
      const rows = lengths.map((length) => tensor(length, kvHeads, headDim));
      const sequences = rows.map((x) => {
        const sequence = pool.sequence();
        sequence.append(0, x, x);
        return sequence;
      });
      const pages = pool.keyPages(0, sequences);
      const q = tensor(3, heads, headDim);
      const { lists } = await questPageScores(q, pages, { pages: 2 });
      for (const [i, x] of rows.entries()) {
        const own = questPageScoresSync(
          q.slice(0, i, i + 1).reshape([1, 1, heads, headDim]),
          x.reshape([1, lengths[i], kvHeads, headDim]),
          { pages: 2, pageSize: pages.pageSize },
        );
        expect(lists[i]).toEqual(own.lists[0]);
      }
      const got = await pool.attention(0, q, sequences, { pageLists: lists });
      for (const [i, sequence] of sequences.entries()) {
        const alone = await pool.attention(0, q.slice(0, i, i + 1), [sequence], { pageLists: [lists[i]] });
        const size = heads * headDim;
        expect(got.out.data.slice(i * size, (i + 1) * size)).toEqual(alone.out.data);
      }
    }
  });
});

describe('lists of pages', () => {
  it.each(formats)('name the tokens that attention sees, codes or exact: %s', (name, format) => {
    const [tokens, pageSize] = [333, 16];
    const cache = new KvCache({ kvHeads: 2, headDim: 64, format, pageSize, pageSummaries: true });
    const [k, v, q] = [tensor(1, tokens, 2, 64), tensor(1, tokens, 2, 64), tensor(1, 1, 4, 64)];
    cache.append(0, k.slice(1, 0, 300), v.slice(1, 0, 300));
    for (let t = 300; t < tokens; t++) cache.append(0, k.slice(1, t, t + 1), v.slice(1, t, t + 1));
    const pages = Math.ceil(tokens / pageSize);
    const all = questPageScoresSync(q, cache.keyPages(0), { pages });
    const dense = cache.attentionSync(0, q).out.data as Float32Array;
    const got = cache.attentionSync(0, q, { pageLists: all.lists }).out.data as Float32Array;
    expectClose(got, [...dense], `${name}, all pages`);
    const { lists } = questPageScoresSync(q, cache.keyPages(0), { pages: 7, firstPages: 1 });
    const seen = (lists[0] as Int32Array[]).map((list) => new Set(list));
    const mask = Uint8Array.from({ length: 4 * tokens }, (_, i) =>
      Number(seen[Math.floor(i / tokens / 2)].has(Math.floor((i % tokens) / pageSize))),
    );
    const masked = { mask: { type: 'bool', data: mask, dims: [4, 1, tokens] } };
    const want = attentionSync(q, cache.keys(0), cache.values(0), masked).out.data as Float32Array;
    expectClose(cache.attentionSync(0, q, { pageLists: lists }).out.data as Float32Array, [...want], name);
  });
});

describe('what is refused', () => {
  const cacheOf = (options: object) => {
    const cache = new KvCache({ kvHeads, headDim, format: 'int8', ...options });
    cache.append(0, tensor(1, 300, kvHeads, headDim), tensor(1, 300, kvHeads, headDim));
    return cache;
  };
  const coded = () => cacheOf({ pageSummaries: true }).keyPages(0);
  it.each<[string, () => unknown]>([
    ['keyPages() without summaries', () => cacheOf({}).keyPages(0)],
    ['statistics', () => attentionStatsSync(query, coded(), { want: ['keySum'] })],
    ['deltaPageScores()', () => deltaPageScoresSync(query, coded(), { pages: 2 })],
    ['snapKV()', () => snapKVSync(query, coded(), { capacity: 20 })],
  ])('%s, which would read codes', (_, call) => {
    expectError(thrownBy(call), { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`format`', 'codes'] });
  });

  it('lengths inside a page whose exact keys are gone', () => {
    const cache = cacheOf({ format: 'int8-token', pageSize: 16, pageSummaries: true });
    expectError(
      thrownBy(() => cache.truncate(287)),
      { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['288 at least'] },
    );
    cache.truncate(290);
    expect(cache.length).toBe(290);
  });
});
