// Documents, slices, power() and positions: rules in core against the same rules written out pair by pair, over random values; and
// the laws of attention over them. Reader: someone who changed a rule of core/pattern that makes ranges.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  type AttentionSlice,
  attentionSlices,
  attentionSync,
  type DocumentsOptions,
  documents,
  KvCache,
  power,
  slidingWindow,
  Tensor,
} from '../../dist/index.js';
import { runnableOf } from '../../dist/patterns/index.js';
import { readPositions } from '../../dist/patterns/positions.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectClose } from '../support/golden.js';
import { expectForAll } from '../support/property.js';
import { tensor } from '../support/tensors.js';

type Sees = (query: number, key: number) => boolean;

/** The keys that every query of the first batch entry and head sees, a character each. */
function shown(
  pattern: Parameters<typeof runnableOf>[0],
  queries: number,
  keys: number,
  positions?: AttentionOptions['positions'],
): string[] {
  const ranges = runnableOf(
    pattern,
    {
      batch: 1,
      queryHeads: 2,
      kvHeads: 2,
      queries,
      keys,
      headDim: 8,
      valueDim: 8,
      type: 'float32',
      keyType: 'float32',
    },
    positions ? { positions: readPositions(positions) } : {},
  );
  if (ranges.kind !== 'ranges') throw new Error('not ranges');
  return Array.from({ length: queries }, (_, q) => {
    const row = new Array<string>(keys).fill('.');
    for (let i = ranges.offsets[q]; i < ranges.offsets[q + 1]; i++)
      row.fill('x', ranges.bounds[2 * i], ranges.bounds[2 * i + 1]);
    return row.join('');
  });
}

const written = (queries: number, keys: number, sees: Sees): string[] =>
  Array.from({ length: queries }, (_, q) => Array.from({ length: keys }, (_, k) => (sees(q, k) ? 'x' : '.')).join(''));

const count = (most: number) => fc.integer({ min: 0, max: most });
const some = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });

describe('rules against themselves, written out pair by pair', () => {
  it('documents', () => {
    const given = fc.record({
      lengths: fc.array(count(9), { minLength: 1, maxLength: 5 }),
      order: fc.oneof(fc.record({ causal: fc.boolean() }), fc.record({ blockCausal: fc.integer({ min: 1, max: 7 }) })),
      prefix: some(count(5)),
      shared: fc.boolean(),
      lastSeesAll: fc.boolean(),
      globalTokens: some(count(4)),
      window: some(fc.record({ left: count(6), right: count(6) })),
    });
    expectForAll(given, 300, ({ order, ...options }) => {
      const { lengths, prefix = 0, shared, lastSeesAll, globalTokens = 0, window } = options;
      const { causal = false, blockCausal } = order as DocumentsOptions;
      const documentOf = lengths.flatMap((length, d) => new Array<number>(length).fill(d));
      const startOf = lengths.map((_, d) => lengths.slice(0, d).reduce((a, n) => a + n, 0));
      const tokens = documentOf.length;
      const sees: Sees = (q, k) => {
        const [own, other] = [documentOf[q], documentOf[k]];
        const isOrdered =
          blockCausal === undefined ? !causal || k <= q : k < (Math.floor(q / blockCausal) + 1) * blockCausal;
        const isNear = window === undefined || (k >= q - window.left && k <= q + window.right);
        return (
          (own === other && ((isOrdered && isNear) || k - startOf[own] < prefix)) ||
          (shared && other === 0 && own !== 0) ||
          (lastSeesAll && own === lengths.length - 1 && other !== own) ||
          (isOrdered && (q < globalTokens || k < globalTokens))
        );
      };
      expect(shown(documents({ ...options, ...order }), tokens, tokens)).toEqual(written(tokens, tokens, sees));
    });
  });

  it('power, in rows and by positions', () => {
    const given = fc.record({
      options: fc.record({ block: fc.integer({ min: 1, max: 5 }), window: count(4), sinkBlocks: count(2) }),
      queries: fc.array(fc.integer({ min: -9, max: 90 }), { maxLength: 12 }),
      keys: fc.array(fc.integer({ min: -9, max: 90 }), { maxLength: 40 }),
      inRow: fc.boolean(),
    });
    expectForAll(given, 300, ({ options, inRow, ...lists }) => {
      const { block, window, sinkBlocks } = options;
      const ascending = (list: number[]) => list.toSorted((a, b) => a - b);
      const at = inRow
        ? {
            queries: lists.queries.map((_, i) => i + lists.keys.length - lists.queries.length),
            keys: lists.keys.map((_, i) => i),
          }
        : { queries: ascending(lists.queries), keys: ascending(lists.keys) };
      const sees: Sees = (q, k) => {
        const [p, r] = [at.queries[q], at.keys[k]];
        const distance = Math.floor(p / block) - Math.floor(r / block);
        return (
          r <= p &&
          ((r >= 0 && r < sinkBlocks * block) ||
            distance < window ||
            distance === 0 ||
            Number.isInteger(Math.log2(distance)))
        );
      };
      const got = shown(power(options), at.queries.length, at.keys.length, inRow ? undefined : at);
      expect(got).toEqual(written(at.queries.length, at.keys.length, sees));
    });
  });

  const position = fc.integer({ min: -40, max: 40 });
  const lists = { queries: fc.array(position, { maxLength: 12 }), keys: fc.array(position, { maxLength: 30 }) };

  it('windows by positions, wherever positions begin', () => {
    const given = fc.record({
      ...lists,
      left: count(30),
      right: count(30),
      sinkTokens: count(20),
      shift: count(2 ** 28),
    });
    expectForAll(given, 300, ({ left, right, sinkTokens, shift, ...at }) => {
      const [queries, keys] = [at.queries, at.keys].map((list) => list.toSorted((a, b) => a - b));
      const sees: Sees = (q, k) => {
        const [p, r] = [queries[q], keys[k]];
        return r <= p + right && (r >= p - left || (r >= 0 && r < sinkTokens));
      };
      const got = shown(slidingWindow({ left, right, sinkTokens }), queries.length, keys.length, { queries, keys });
      expect(got).toEqual(written(queries.length, keys.length, sees));
      const moved = { queries: queries.map((p) => p + shift), keys: keys.map((r) => r + shift) };
      const band = slidingWindow({ left, right });
      expect(shown(band, queries.length, keys.length, moved)).toEqual(
        shown(band, queries.length, keys.length, { queries, keys }),
      );
    });
  });

  const side = fc.tuple(count(12), count(12)).map(([a, b]): [number, number] => [Math.min(a, b), Math.max(a, b)]);
  const slice = fc.record({ q: side, k: side, kind: fc.constantFrom('full', 'causal', 'invcausal', 'bicausal') });

  it('slices, and those that overlap are refused', () => {
    expectForAll(fc.array(slice, { maxLength: 4 }), 500, (slices) => {
      const times = (q: number, k: number) =>
        slices.filter((one) => {
          const [row, column] = [q - one.q[0], k - one.k[0]];
          const [rows, columns] = [one.q[1] - one.q[0], one.k[1] - one.k[0]];
          const isInside = row >= 0 && row < rows && column >= 0 && column < columns;
          const isCausal = one.kind === 'causal' || one.kind === 'bicausal';
          const isInverse = one.kind === 'invcausal' || one.kind === 'bicausal';
          return isInside && (!isCausal || column <= row + columns - rows) && (!isInverse || column >= row);
        }).length;
      const overlap = written(12, 12, (q, k) => times(q, k) > 1).some((row) => row.includes('x'));
      const pattern = attentionSlices(slices as AttentionSlice[]);
      if (overlap) {
        expectError(
          thrownBy(() => shown(pattern, 12, 12)),
          {
            code: 'ERR_TILEWISE_INVALID_OPTION',
            type: RangeError,
            says: ['slices[', 'overlap'],
          },
        );
      } else {
        expect(shown(pattern, 12, 12)).toEqual(written(12, 12, (q, k) => times(q, k) === 1));
      }
    });
  });
});

onEveryBackend(({ device }) => {
  const dims = [1, 90, 4, 16] as const;
  const [q, k, v] = [tensor(...dims), tensor(...dims), tensor(...dims)];
  const attend = (options: AttentionOptions) => attentionSync(q, k, v, { ...options, returnLse: true, device });

  it('documents = the same documents as packed sequences', () => {
    const lengths = [7, 40, 1, 0, 42];
    const cuSeqlensQ = [0, 7, 47, 48, 48, 90];
    for (const causal of [false, true]) {
      const packed = attend({ causal, cuSeqlensQ, cuSeqlensK: cuSeqlensQ });
      for (const pattern of [documents({ lengths, causal }), documents({ cuSeqlens: cuSeqlensQ, causal })]) {
        const got = attend({ pattern });
        expectClose(got.out.data, packed.out.data, 6);
        expectClose(got.lse.data, packed.lse.data, 5);
      }
    }
  });

  it('a batch entry has documents of its own', () => {
    const two = (one: Tensor<'float32'>) =>
      new Tensor('float32', Float32Array.from([...one.data, ...one.data]), [2, ...dims.slice(1)]);
    const lists = [
      [30, 60],
      [1, 88, 1],
    ];
    const both = attentionSync(two(q), two(k), two(v), {
      pattern: documents({ lengths: lists, causal: true }),
      device,
    });
    lists.forEach((lengths, b) => {
      const alone = attend({ pattern: documents({ lengths, causal: true }) });
      expect([...both.out.data.subarray(b * q.data.length, (b + 1) * q.data.length)]).toEqual([...alone.out.data]);
    });
  });

  it('keys that no query sees may hold anything', () => {
    const pattern = attentionSlices([{ q: [0, 90], k: [10, 60], kind: 'causal' }]);
    const spoilt = (one: Tensor<'float32'>) =>
      new Tensor(
        'float32',
        one.data.map((x, i) => (Math.floor(i / 64) >= 10 && Math.floor(i / 64) < 60 ? x : Number.NaN)),
        one.dims,
      );
    const got = attentionSync(q, spoilt(k), spoilt(v), { pattern, device });
    expect([...got.out.data]).toEqual([...attend({ pattern }).out.data]);
  });

  const row = Array.from({ length: 90 }, (_, i) => i);
  const rules: AttentionOptions[] = [
    { causal: true },
    { window: { left: 20, right: 5 } },
    { causal: true, window: { left: 12 }, sinkTokens: 3 },
    { pattern: power({ block: 4, window: 2 }) },
  ];

  it('positions in a row change nothing, with ALiBi or without', () => {
    for (const options of [...rules, {}]) {
      for (const alibiSlopes of [undefined, [0.5, 0.25, 0.125, 2]]) {
        const plain = attend({ ...options, alibiSlopes });
        const placed = attend({ ...options, alibiSlopes, positions: { queries: row, keys: row } });
        expectClose(placed.out.data, plain.out.data, 6);
        expectClose(placed.lse.data, plain.lse.data, 5);
      }
    }
  });

  it('positions that are all moved by a constant give the same bits', () => {
    const spread = row.map((p) => 3 * p);
    for (const options of [{ causal: true }, { window: { left: 20, right: 5 } }]) {
      const at = (shift: number) => {
        const list = Int32Array.from(spread, (p) => p + shift);
        return attend({ ...options, alibiSlopes: [0.5, 0.25, 0.125, 2], positions: { queries: list, keys: list } });
      };
      const [first, moved] = [at(0), at(2 ** 27 + 5)];
      expect([...moved.out.data]).toEqual([...first.out.data]);
      expect([...moved.lse.data]).toEqual([...first.lse.data]);
    }
  });

  it('power: a prompt in chunks and tokens one at a time give what the whole prompt does', () => {
    const pattern = power({ block: 4, window: 2 });
    const whole = attend({ pattern });
    for (const [begin, end] of [
      [0, 50],
      [50, 81],
      [89, 90],
    ]) {
      const got = attentionSync(q.slice(1, begin, end), k.slice(1, 0, end), v.slice(1, 0, end), { pattern, device });
      expectClose(got.out.data, whole.out.data.subarray(begin * 64, end * 64), 5);
    }
    const lengths = [90, 61];
    const two = (one: Tensor<'float32'>) =>
      new Tensor('float32', Float32Array.from([...one.data, ...one.data]), [2, ...dims.slice(1)]);
    const padded = attentionSync(
      new Tensor(
        'float32',
        Float32Array.from(lengths.flatMap((n) => [...q.data.subarray((n - 1) * 64, n * 64)])),
        [2, 1, 4, 16],
      ),
      two(k),
      two(v),
      { pattern, keyLengths: lengths, device },
    );
    lengths.forEach((n, b) => {
      expectClose(padded.out.data.subarray(64 * b, 64 * (b + 1)), whole.out.data.subarray((n - 1) * 64, n * 64), 5);
    });
  });

  it('power over the pages of a cache, where the newest tokens are the queries', () => {
    const pattern = power({ block: 4, window: 2 });
    const whole = attend({ pattern });
    const cache = new KvCache({ kvHeads: 4, headDim: 16, device });
    cache.append(0, k, v);
    const { out } = cache.attentionSync(0, q.slice(1, 60, 90), { pattern });
    expectClose(out.data as Float32Array, whole.out.data.subarray(60 * 64), 5);
  });
});
