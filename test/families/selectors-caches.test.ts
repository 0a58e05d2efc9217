// Selectors over caches and pools: bounds of pages follow append, truncate and fork, and lists are read by attention unchanged.
// The same choice is made from a tensor of the same keys, which knows no pages. Reader: someone who changes a cache.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attentionStats,
  attentionStatsSync,
  attentionSync,
  deltaPageScores,
  deltaPageScoresSync,
  type KeyPages,
  KvCache,
  KvPool,
  questPageScores,
  questPageScoresSync,
  rotateSync,
  snapKV,
  snapKVSync,
  Tensor,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';
import { uniformNumbers } from '../support/uniform.mjs';

/** Numbers from -2 to 2 by seed. */
const random = (seed: number, ...dims: number[]) => {
  const next = uniformNumbers(seed);
  const size = dims.reduce((a, b) => a * b, 1);
  return new Tensor(
    'float32',
    Float32Array.from({ length: size }, () => 4 * next() - 2),
    dims,
  );
};

const [kvHeads, headDim, heads] = [2, 6, 4];
const query = random(99, 1, 1, heads, headDim);

/** Expects the choice over a cache to be that over its keys, and the bounds to be theirs. */
function expectSame(pages: KeyPages, keys: Tensor, size: number, q: Tensor = query): void {
  const options = { pages: 3, lastPages: 0 };
  const got = questPageScoresSync(q, pages, options);
  const want = questPageScoresSync(q, keys, { ...options, pageSize: size, keyLengths: pages.keyLengths });
  expect(got.scores.dims).toEqual(want.scores.dims);
  got.scores.data.forEach((x, i) => {
    expect(Math.abs(x - want.scores.data[i])).toBeLessThan(1e-4);
  });
  expect(got.lists).toEqual(want.lists);
}

const steps = fc.record({
  size: fc.integer({ min: 1, max: 9 }),
  type: fc.constantFrom('float32' as const, 'float16' as const),
  steps: fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 20 }) }),
      fc.record({ kind: fc.constant('truncate' as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({ kind: fc.constant('fork' as const) }),
    ),
    { minLength: 1, maxLength: 12 },
  ),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

onEveryBackend(() => {
  it('bounds of pages follow append, truncate and fork of a cache', () => {
    const { device = 'cpu' } = selected() ?? {};
    expectForAll(steps, device === 'cpu' ? 40 : 6, (d) => {
      let seed = d.seed;
      let cache = new KvCache({ kvHeads, headDim, pageSize: d.size, pageSummaries: true, type: d.type, device });
      const others: KvCache[] = [];
      const check = (one: KvCache) => {
        if (one.length > 0) expectSame(one.keyPages(0), one.keys(0), d.size);
      };
      for (const step of d.steps) {
        if (step.kind === 'append') {
          const rows = random(seed++, 1, step.count, kvHeads, headDim);
          cache.append(0, rows, rows);
        } else if (step.kind === 'truncate') {
          cache.truncate(Math.floor(step.part * cache.length));
        } else {
          others.push(cache);
          cache = cache.fork();
        }
        check(cache);
      }
      for (const other of others) check(other);
    });
  });
});

describe('bounds of pages', () => {
  it('are those of each layer, and of single tokens as of many', () => {
    const cache = new KvCache({ kvHeads, headDim, layers: 2, pageSize: 4, pageSummaries: true });
    const [a, b] = [random(1, 1, 23, kvHeads, headDim), random(2, 1, 23, kvHeads, headDim)];
    cache.append(0, a, a);
    for (let t = 0; t < 23; t++) cache.append(1, b.slice(1, t, t + 1), b.slice(1, t, t + 1));
    expectSame(cache.keyPages(0), a, 4);
    expectSame(cache.keyPages(1), b, 4);
    const { bounds, means } = cache.keyPages(1).summaries ?? {};
    const { table } = cache.keyPages(1);
    for (let page = 0; page < 5; page++) {
      for (let i = 0; i < kvHeads * headDim; i++) {
        const column = Array.from({ length: 4 }, (_, t) => b.data[(page * 4 + t) * kvHeads * headDim + i]);
        const row = (table.data[page] as number) * kvHeads + Math.floor(i / headDim);
        const at = (data: unknown, width: number, d: number) => (data as Float32Array)[row * width + d];
        expect(at(bounds?.data, 2 * headDim, i % headDim)).toBe(Math.max(...column));
        expect(at(bounds?.data, 2 * headDim, headDim + (i % headDim))).toBe(Math.min(...column));
        expect(at(means?.data, headDim, i % headDim)).toBeCloseTo(column.reduce((x, y) => x + y) / 4, 5);
      }
    }
  });
});

describe('lists', () => {
  it('are read by a cache as by attention to the tokens they name', () => {
    const cache = new KvCache({ kvHeads, headDim, pageSize: 4, pageSummaries: true });
    const [k, v] = [random(3, 1, 30, kvHeads, headDim), random(4, 1, 30, kvHeads, headDim)];
    cache.append(0, k, v);
    const dense = cache.attentionSync(0, query);
    for (const select of [questPageScoresSync, deltaPageScoresSync]) {
      const full = select(query, cache.keyPages(0), { pages: 8 });
      const all = cache.attentionSync(0, query, { pageLists: full.lists });
      all.out.data.forEach((x, i) => {
        expect(Math.abs(x - dense.out.data[i])).toBeLessThan(1e-5);
      });
    }
    // One list for all heads: the same as a cache of these tokens alone.
    const { lists } = deltaPageScoresSync(query, cache.keyPages(0), { pages: 3, lastPages: 1 });
    const part = new KvCache({ kvHeads, headDim });
    for (const page of lists[0] as Int32Array) {
      const tokens = [page * 4, Math.min(30, page * 4 + 4)] as const;
      part.append(0, k.slice(1, ...tokens), v.slice(1, ...tokens));
    }
    const want = part.attentionSync(0, query);
    const got = cache.attentionSync(0, query, { pageLists: lists });
    got.out.data.forEach((x, i) => {
      expect(Math.abs(x - want.out.data[i])).toBeLessThan(1e-5);
    });
  });

  it('are read by a pool, a list for each sequence', async () => {
    const pool = new KvPool({ pages: 32, pageSize: 4, kvHeads, headDim, pageSummaries: true });
    const sequences = [17, 30].map((tokens, i) => {
      const sequence = pool.sequence();
      const rows = random(5 + i, tokens, kvHeads, headDim);
      sequence.append(0, rows, rows);
      return { sequence, rows };
    });
    const both = sequences.map(({ sequence }) => sequence);
    const q = random(9, 2, heads, headDim);
    const { lists } = await questPageScores(q, pool.keyPages(0, both), { pages: 3 });
    const got = await pool.attention(0, q, both, { pageLists: lists });
    for (const [i, { sequence, rows }] of sequences.entries()) {
      const one = q.slice(0, i, i + 1);
      const [b, tokens] = [1, rows.dims[0]];
      expectSame(
        pool.keyPages(0, [sequence]),
        rows.reshape([b, tokens, kvHeads, headDim]),
        4,
        one.reshape([1, 1, heads, headDim]),
      );
      const own = questPageScoresSync(one, pool.keyPages(0, [sequence]), { pages: 3 });
      expect(own.lists[0]).toEqual(lists[i]);
      const alone = await pool.attention(0, one, [sequence], { pageLists: own.lists });
      expect(got.out.data.slice(i * heads * headDim, (i + 1) * heads * headDim)).toEqual(alone.out.data);
    }
  });
});

it('statistics of a cache are those of its keys', () => {
  const cache = new KvCache({ kvHeads, headDim, pageSize: 4 });
  const k = random(3, 1, 30, kvHeads, headDim);
  cache.append(0, k, k);
  const want = attentionStatsSync(query, k, { want: ['keySum'], causal: true });
  const got = attentionStatsSync(query, cache.keyPages(0), { want: ['keySum'], causal: true });
  expect(got.keySum?.data.slice(0, 30)).toEqual(want.keySum?.data);
  const q = random(8, 1, 10, heads, headDim);
  const options = { capacity: 9, window: 10, pool: 3, prefix: 2, local: 3 };
  expect(snapKVSync(q, cache.keyPages(0), options).lists).toEqual(snapKVSync(q, k, options).lists);
});

describe('compact()', () => {
  const options = { kvHeads, headDim, layers: 2, pageSize: 4, capacity: 64 };
  const [k, v] = [random(3, 2, 30, kvHeads, headDim), random(4, 2, 30, kvHeads, headDim)];
  const q = random(6, 2, 1, heads, headDim);
  const lists = [
    [Int32Array.of(0, 3, 4, 17, 29), Int32Array.of(1, 2, 20, 21, 22)],
    [Int32Array.of(5, 6), Int32Array.of(0, 29)],
  ];

  /** Attention of queries to the tokens that are kept, by a mask. */
  const masked = (
    query: Tensor,
    tokens: Tensor,
    values: Tensor,
    kept: (b: number, head: number, key: number) => boolean,
  ) => {
    const [batch, keys] = tokens.dims;
    const mask = new Uint8Array(batch * heads * keys);
    for (let b = 0; b < batch; b++)
      for (let h = 0; h < heads; h++)
        for (let key = 0; key < keys; key++) mask[(b * heads + h) * keys + key] = Number(kept(b, h >> 1, key));
    return attentionSync(query, tokens, values, { mask: { type: 'bool', data: mask, dims: [batch, heads, 1, keys] } })
      .out;
  };
  const expectClose = (got: { data: ArrayLike<number> }, want: { data: ArrayLike<number> }) =>
    Array.from(got.data).forEach((x, i) => {
      expect(Math.abs(x - want.data[i])).toBeLessThan(1e-5);
    });

  it.each([false, true])('keeps the listed tokens, and those to come (rotary: %s)', (isTurned) => {
    const rotary = isTurned ? { rotary: {} } : {};
    const turn = (x: Tensor, first: number) =>
      isTurned ? rotateSync(x, { positions: Float64Array.from({ length: x.dims[1] }, (_, i) => first + i) }) : x;
    const cache = new KvCache({ ...options, ...rotary });
    for (const layer of [0, 1]) cache.append(layer, k, v);
    const fork = cache.fork();
    cache.compact(0, lists);
    expect(cache.lengthOf(0)).toBe(30);
    expect(cache.length).toBe(30);
    const [k2, v2] = [random(7, 2, 3, kvHeads, headDim), random(8, 2, 3, kvHeads, headDim)];
    for (const layer of [0, 1]) cache.append(layer, k2, v2);
    const cat = (a: Tensor, b: Tensor) => {
      const data = new Float32Array(a.size + b.size);
      const [x, y] = [a.size / 2, b.size / 2];
      for (const e of [0, 1]) {
        data.set((a.data as Float32Array).subarray(e * x, e * x + x), e * (x + y));
        data.set((b.data as Float32Array).subarray(e * y, e * y + y), e * (x + y) + x);
      }
      return new Tensor('float32', data, [2, 33, kvHeads, headDim]);
    };
    const all = cat(turn(k, 0) as Tensor, turn(k2, 30) as Tensor);
    const values = cat(v, v2);
    const query = turn(q, 32);
    const isKept = (b: number, head: number, key: number) => key >= 30 || lists[b][head].includes(key);
    expectClose(cache.attentionSync(0, q).out, masked(query, all, values, isKept));
    expectClose(cache.attentionSync(1, q).out, attentionSync(query, all, values).out);
    expectClose(fork.attentionSync(0, q).out, attentionSync(turn(q, 29), turn(k, 0), v).out);
    cache.truncate(31);
    expect(cache.keys(0).dims[1]).toBe(6);
    expectError(
      thrownBy(() => cache.truncate(29)),
      { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['30'] },
    );
  });

  it('frees pages once all layers need fewer', () => {
    const cache = new KvCache(options);
    for (const layer of [0, 1]) cache.append(layer, k, v);
    const { bytes } = cache;
    cache.compact(0, lists);
    expect(cache.bytes).toBe(bytes);
    cache.compact(1, lists);
    expect(cache.bytes).toBe((bytes * 3) / 16);
    cache.reset();
    expect(cache.length).toBe(0);
    cache.append(0, k, v);
    expect(cache.lengthOf(0)).toBe(30);
  });

  it('keeps everything that snapKV() keeps with room for all', () => {
    const cache = new KvCache({ ...options, layers: 1 });
    cache.append(0, k, v);
    const before = cache.attentionSync(0, q).out.data;
    cache.compact(0, snapKVSync(q, cache.keyPages(0), { capacity: 30 }).lists);
    expect(cache.attentionSync(0, q).out.data).toEqual(before);
    cache.truncate(20);
    expect(cache.length).toBe(20);
  });

  it.each<[string, object, string, string]>([
    [
      'a token that is not there',
      [
        [
          [0, 30],
          [0, 1],
        ],
        [[0], [1]],
      ],
      'ERR_TILEWISE_INVALID_OPTION',
      'lists[0][0]',
    ],
    [
      'a token twice',
      [
        [
          [1, 1],
          [0, 1],
        ],
        [[0], [1]],
      ],
      'ERR_TILEWISE_INVALID_OPTION',
      'lists[0][0]',
    ],
    [
      'heads that keep other numbers',
      [
        [[0, 1], [0]],
        [[0], [1]],
      ],
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'lists[0][1]',
    ],
    ['lists of one sequence', [[[0], [0]]], 'ERR_TILEWISE_INVALID_OPTION', 'lists'],
  ])('refuses %s', (_, wrong, code, says) => {
    const cache = new KvCache(options);
    cache.append(0, k, v);
    expectError(
      thrownBy(() => cache.compact(0, wrong as never)),
      { code: code as never, says: [says] },
    );
    expect(cache.keys(0).data).toEqual(k.data);
  });

  it('refuses options that count tokens of the text afterwards', () => {
    const cache = new KvCache(options);
    cache.append(0, k, v);
    cache.compact(0, lists);
    const call = () => cache.attentionSync(0, q, { alibiSlopes: [1, 1, 1, 1] });
    expectError(thrownBy(call), { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['alibiSlopes'] });
  });
});

describe('what is refused', () => {
  const cache = new KvCache({ kvHeads, headDim });
  cache.append(0, random(1, 1, 5, kvHeads, headDim), random(1, 1, 5, kvHeads, headDim));
  const recent = { kvHeads, headDim, recentTokens: 8 };
  const invalid = 'ERR_TILEWISE_INVALID_OPTION';
  it.each<[string, () => unknown, string]>([
    ['a cache without summaries', () => questPageScoresSync(query, cache.keyPages(0), { pages: 1 }), 'pageSummaries'],
    [
      'a page size next to a cache',
      () => deltaPageScoresSync(query, cache.keyPages(0), { pages: 1, pageSize: 4 }),
      'pageSize',
    ],
    [
      'lengths next to a cache',
      () => attentionStatsSync(query, cache.keyPages(0), { want: ['keySum'], keyLengths: [3] }),
      'keyLengths',
    ],
    ['summaries of a window', () => new KvCache({ ...recent, pageSummaries: true }), 'pageSummaries'],
    ['a page size of a window', () => new KvCache({ ...recent, pageSize: 16 }), 'pageSize'],
  ])('%s', (_, call, says) => {
    expectError(thrownBy(call), { code: invalid, says: [says] });
  });
  it('pages of a cache that lets go of tokens', () => {
    const window = new KvCache(recent);
    window.append(0, random(1, 1, 5, kvHeads, headDim), random(1, 1, 5, kvHeads, headDim));
    expectError(
      thrownBy(() => window.keyPages(0)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['recentTokens'] },
    );
    expectError(
      thrownBy(() => window.attentionSync(0, query, { pageLists: [[0]] })),
      { code: invalid, says: ['pageLists'] },
    );
  });
});

it('are refused a cache that changes while they read it', async () => {
  const keys = random(40, 1, 200, kvHeads, headDim);
  for (const call of [
    (k: KeyPages) => attentionStats(query, k, { want: ['keySum'] }),
    (k: KeyPages) => questPageScores(query, k, { pages: 2 }),
    (k: KeyPages) => deltaPageScores(query, k, { pages: 2 }),
    (k: KeyPages) => snapKV(query, k, { capacity: 20 }),
  ]) {
    const cache = new KvCache({ kvHeads, headDim, pageSize: 16, pageSummaries: true, type: 'float32' });
    cache.append(0, keys, keys);
    const flight = call(cache.keyPages(0));
    for (const change of [() => cache.reset(), () => cache.truncate(100), () => cache.dispose()]) {
      expectError(thrownBy(change), { code: 'ERR_TILEWISE_OVERLAP' });
    }
    await flight;
    cache.reset();
  }
});
