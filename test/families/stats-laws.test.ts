// Laws of the statistics of attention: random calls against float64 on every backend; threads, copies and strides change no bit
// on the CPU; matrices that are too large are refused. Reader: someone who changes the loop.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type AttentionStats,
  type AttentionStatsOptions,
  attentionStats,
  attentionStatsSync,
  attentionSync,
  numThreads,
  setNumThreads,
  Tensor,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { statsOf } from '../references/stats.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { onEveryCpu } from '../support/ext-linear.js';
import { expectForAll } from '../support/property.js';
import { tensor } from '../support/tensors.js';
import { uniformNumbers } from '../support/uniform.mjs';

const threads = numThreads();
afterAll(() => setNumThreads(threads));

const want = [
  'lse',
  'rowTopK',
  'keySum',
  'keySumOverQueries',
  'keyMaxOverHeads',
  'blockSum',
  'diagSum',
  'probs',
  'scores',
] as const;
const sums = [
  'lse',
  'keySum',
  'keySumOverQueries',
  'keyMaxOverHeads',
  'blockSum',
  'diagSum',
  'probs',
  'scores',
] as const;

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

const drawn = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  queries: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 140 })),
  keys: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 200, max: 600 })),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 6 }),
  headDim: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(16, 32, 64)),
  keyType: fc.constantFrom('float32' as const, 'float16' as const, 'bfloat16' as const),
  topK: fc.integer({ min: 1, max: 20 }),
  blockQ: fc.integer({ min: 1, max: 50 }),
  blockK: fc.integer({ min: 1, max: 300 }),
  causal: fc.boolean(),
  ownLse: fc.boolean(),
  lengths: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

function callOf(d: typeof drawn extends fc.Arbitrary<infer D> ? D : never) {
  const queryHeads = d.kvHeads * d.group;
  const q = random(d.seed, d.batch, d.queries, queryHeads, d.headDim);
  const k = random(d.seed + 1, d.batch, d.keys, d.kvHeads, d.headDim).astype(d.keyType);
  const keyLengths = Array.from({ length: d.batch }, (_, b) => (d.lengths ? Math.max(0, d.keys - 7 * b - 1) : d.keys));
  const lse = random(d.seed + 2, d.batch, queryHeads, d.queries).data.map((x) => x + 6);
  const options: AttentionStatsOptions = {
    want: want.filter((name) => d.causal || name !== 'diagSum'),
    rowTopK: d.topK,
    blockSum: [d.blockQ, d.blockK],
    causal: d.causal,
    keyLengths,
    device: 'cpu',
    ...(d.ownLse ? {} : { lse: new Tensor('float32', lse, [d.batch, queryHeads, d.queries]) }),
  };
  const sizes = {
    batch: d.batch,
    queries: d.queries,
    keys: d.keys,
    queryHeads,
    kvHeads: d.kvHeads,
    headDim: d.headDim,
  };
  const input = { ...sizes, q: q.data, k: k.astype('float32').data, causal: d.causal, keyLengths, topK: d.topK };
  const reference = statsOf({
    ...input,
    blockSum: [d.blockQ, d.blockK],
    ...(d.ownLse ? {} : { lse }),
  });
  return { q, k, options, reference };
}

function expectNumbers(name: string, got: ArrayLike<number>, expected: ArrayLike<number>, bound: number): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const isNear =
      got[i] === expected[i] || Math.abs(got[i] - expected[i]) <= bound * Math.max(1, Math.abs(expected[i]));
    if (!isNear) expect.fail(`${name}, element ${i}: ${got[i]}, not ${expected[i]}`);
  }
}

/** Every result as one row of numbers. */
const bitsOf = (stats: AttentionStats) => [
  ...sums.map((name) => stats[name]?.data),
  stats.rowTopK?.indices.data,
  stats.rowTopK?.probs.data,
];

onEveryBackend(() => {
  it('are those of the whole matrix in float64', () => {
    const { device } = selected() ?? {};
    // Blocks of few queries take an emulated GPU long.
    expectForAll(
      device === 'cpu' ? drawn : drawn.filter((d) => d.queries < 80 && d.blockQ > 9),
      device === 'cpu' ? 24 : 4,
      (d) => {
        const { q, k, options, reference } = callOf(d);
        const got = attentionStatsSync(q, k, { ...options, device });
        for (const name of sums) {
          const found = got[name];
          if (found) expectNumbers(name, found.data, reference[name], 2e-5);
        }
        // Scores that differ by rounding may change places; probabilities do not notice.
        expectNumbers('rowTopK.probs', got.rowTopK?.probs.data ?? [], reference.topProbs, 2e-5);
        const { indices } = got.rowTopK ?? {};
        const rowOf = (i: number) => Math.floor(i / d.topK) * d.keys;
        indices?.data.forEach((j, i) => {
          const other = reference.indices[i];
          if (j === other) return;
          expect(j >= 0 && other >= 0).toBe(true);
          expect(Math.abs(reference.scores[rowOf(i) + j] - reference.scores[rowOf(i) + other])).toBeLessThan(2e-5);
        });
      },
    );
  });
});

onEveryCpu(() => {
  it('have the same bits with 1 and 3 threads, asked for alone or together', () => {
    expectForAll(drawn, 8, (d) => {
      const { q, k, options } = callOf(d);
      setNumThreads(1);
      const one = attentionStatsSync(q, k, options);
      setNumThreads(3);
      expect(bitsOf(attentionStatsSync(q, k, options))).toEqual(bitsOf(one));
      // Blocks of queries may be in other work items.
      const alone = { ...options, want: options.want.filter((name) => name !== 'blockSum') };
      const together = attentionStatsSync(q, k, alone);
      for (const name of ['keySum', 'keyMaxOverHeads'] as const) {
        expect(attentionStatsSync(q, k, { ...alone, want: [name] })[name]?.data).toEqual(together[name]?.data);
      }
    });
  });
});

describe('attentionStats()', () => {
  it('has the lse of attention(), and takes it back', () => {
    const [q, k] = [random(1, 2, 70, 4, 16), random(2, 2, 300, 2, 16)];
    const { lse } = attentionSync(q, k, k, { causal: true, returnLse: true, device: 'cpu' });
    const own = attentionStatsSync(q, k, { want: ['probs'], causal: true, device: 'cpu' });
    const given = attentionStatsSync(q, k, { want: ['probs'], causal: true, lse, device: 'cpu' });
    expectNumbers('lse', own.lse?.data ?? [], lse.data, 2e-6);
    expectNumbers('probs', given.probs?.data ?? [], own.probs?.data ?? [], 2e-6);
    expect(given.lse).toBeUndefined();
  });

  it('gives a row that sees no key the probability 0, by the lse of attention() as well', () => {
    const [q, k] = [random(1, 1, 9, 2, 8), random(2, 1, 4, 1, 8)];
    const options = { want: ['probs', 'keySum', 'keyMaxOverHeads'] as const, causal: true, device: 'cpu' as const };
    const { lse } = attentionSync(q, k, k, { causal: true, returnLse: true, device: 'cpu' });
    const own = attentionStatsSync(q, k, options);
    const given = attentionStatsSync(q, k, { ...options, lse });
    for (const name of options.want) expectNumbers(name, given[name]?.data ?? [], own[name]?.data ?? [], 2e-6);
    expect(given.probs?.data.subarray(0, 5 * 4).every((x) => x === 0)).toBe(true);
  });

  it('adds up blocks of queries that begin inside of a strip', () => {
    // 64 heads' shares of work have 30 queries, of which a strip takes 10: the second one has parts of two blocks.
    const sizes = { batch: 1, queries: 120, keys: 20, queryHeads: 192, kvHeads: 16, headDim: 2 };
    const [q, k] = [random(5, 1, 120, 192, 2), random(6, 1, 20, 16, 2)];
    const blockSum = [15, 7] as const;
    const got = attentionStatsSync(q, k, { want: ['blockSum'], blockSum, device: 'cpu' });
    const expected = statsOf({ ...sizes, q: q.data, k: k.data, causal: false, topK: 1, blockSum });
    expectNumbers('blockSum', got.blockSum?.data ?? [], expected.blockSum, 2e-5);
  });

  it('computes strips twice whose weights have no room, and finds the same', () => {
    // 32 rows of more than 131,072 keys.
    const [q, k] = [random(3, 1, 33, 1, 4), random(4, 1, 140_000, 1, 4)];
    const options = {
      want: ['keySum', 'diagSum', 'rowTopK'] as const,
      rowTopK: 2,
      causal: true,
      device: 'cpu' as const,
    };
    const got = attentionStatsSync(q, k, options);
    const given = attentionStatsSync(q, k, { ...options, lse: got.lse });
    expectNumbers('keySum', got.keySum?.data ?? [], given.keySum?.data ?? [], 1e-5);
    expectNumbers('diagSum', got.diagSum?.data ?? [], given.diagSum?.data ?? [], 1e-5);
    expect(got.rowTopK?.indices.data).toEqual(given.rowTopK?.indices.data);
    expect(got.keySum?.data.reduce((a, x) => a + x, 0)).toBeCloseTo(33, 2);
  });

  it('keeps the first of equal scores', () => {
    const k = new Tensor('float32', new Float32Array(40 * 4).fill(1), [1, 40, 1, 4]);
    const { rowTopK } = attentionStatsSync(tensor(1, 1, 1, 4), k, { want: ['rowTopK'], rowTopK: 3, device: 'cpu' });
    expect([...(rowTopK?.indices.data ?? [])]).toEqual([0, 1, 2]);
  });

  it('reads half precision, heads first, and pages in place', async () => {
    const [q, k] = [random(5, 2, 20, 4, 24), random(6, 2, 64, 2, 24)];
    const options = { want: ['keySum'] as const, causal: true, device: 'cpu' as const };
    const plain = attentionStatsSync(q, k.astype('float16').astype('float32'), options);
    const half = await attentionStats(q, k.astype('float16'), options);
    expect(half.keySum?.data).toEqual(plain.keySum?.data);
    const first = await attentionStats(q.transpose([0, 2, 1, 3]), k.astype('float16').transpose([0, 2, 1, 3]), {
      ...options,
      layout: 'bhnd',
    });
    expect(first.keySum?.data).toEqual(plain.keySum?.data);
    // Pages of 16 tokens, the first four of them those of entry 0.
    const pages = k.astype('float16').reshape([8, 16, 2, 24]);
    const table = [
      [4, 5, 6, 7],
      [0, 1, 2, 3],
    ];
    const swapped = await attentionStats(q, pages, {
      ...options,
      pages: { table, pageSize: 16 },
      keyLengths: [64, 64],
    });
    const entry = (tensor: Tensor, b: number) => tensor.slice(0, b, b + 1);
    for (const b of [0, 1]) {
      const one = attentionStatsSync(entry(q, b), entry(k.astype('float16'), 1 - b).astype('float32'), options);
      expect(swapped.keySum?.data.subarray(64 * b, 64 * b + 64)).toEqual(one.keySum?.data);
    }
  });
});

describe('what is refused', () => {
  const [q, k] = [tensor(1, 3, 4, 8), tensor(1, 5, 2, 8)];
  it.each<[string, object, string, string]>([
    ['probs above maxElements', { want: ['probs'], maxElements: 59 }, 'ERR_TILEWISE_INVALID_OPTION', 'maxElements'],
    ['scores above maxElements', { want: ['scores'], maxElements: 59 }, 'ERR_TILEWISE_INVALID_OPTION', 'maxElements'],
    ['rowTopK without a number', { want: ['rowTopK'] }, 'ERR_TILEWISE_INVALID_OPTION', 'rowTopK'],
    ['diagonals without an order', { want: ['diagSum'] }, 'ERR_TILEWISE_INVALID_OPTION', 'causal'],
    ['an lse of other rows', { want: ['keySum'], lse: tensor(1, 4, 2) }, 'ERR_TILEWISE_SHAPE_MISMATCH', 'lse'],
    ['a length above the keys', { want: ['keySum'], keyLengths: [6] }, 'ERR_TILEWISE_INVALID_OPTION', 'keyLengths'],
    ['an unknown option', { want: ['keySum'], topK: 3 }, 'ERR_TILEWISE_UNKNOWN_OPTION', 'topK'],
  ])('%s', (_, options, code, says) => {
    expectError(
      thrownBy(() => attentionStatsSync(q, k, options as never)),
      { code: code as never, says: [says] },
    );
  });
  it('allows exactly maxElements, whose default is 2^24', () => {
    const options = { want: ['probs'] as const, device: 'cpu' as const };
    expect(attentionStatsSync(q, k, { ...options, maxElements: 60 }).probs?.dims).toEqual([1, 4, 3, 5]);
    const long = { type: 'float32' as const, data: new Float32Array(1), dims: [1, 4097, 1, 1], strides: [0, 0, 0, 1] };
    expectError(
      thrownBy(() => attentionStatsSync(long, long, options)),
      {
        code: 'ERR_TILEWISE_INVALID_OPTION',
        says: [`${4097 ** 2}`],
      },
    );
  });
});
